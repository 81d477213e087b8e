import { test, vi } from 'vitest'
import { requireRoot } from '../harness/root.ts'
import { GROUPS } from './groups.ts'
import { runPage } from './run-page.ts'

// Ends what hangs: a long page on a busy machine is slow, not wrong.
vi.setConfig({ testTimeout: 600_000 })

test.for(GROUPS.guides)('%s: every command works as it stands there', async (page, context) => {
  requireRoot(context, 'a shell in namespaces of its own')
  await runPage(page)
})
