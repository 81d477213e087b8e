import { test } from 'vitest'
import { requireRoot } from '../harness/root.ts'
import { GROUPS } from './groups.ts'
import { runPage } from './run-page.ts'

test.for(GROUPS.first)('%s: every command works as it stands there', async (page, context) => {
  requireRoot(context, 'a shell in namespaces of its own')
  await runPage(page)
})
