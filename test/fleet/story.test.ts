import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test, vi } from 'vitest'
import { runNode } from '../harness/metabind.ts'

// Ends what hangs: the story says itself how long it took.
vi.setConfig({ testTimeout: 600_000 })

const DEV = fileURLToPath(new URL('../../dev', import.meta.url))
const STORY = fileURLToPath(new URL('story.ts', import.meta.url))

test('./dev fleet goes as told, says how far it is, and leaves nothing', async () => {
  const env = { ...process.env, NO_COLOR: '1' }
  const { stdout } = await promisify(execFile)(DEV, ['fleet', '2'], { env })
  expect([...stdout.matchAll(/^\[(\d)\/9, \d+ s\] /gm)].map(([, step]) => Number(step))).toEqual([
    1, 2, 3, 4, 5, 6, 7, 8, 9,
  ])
  expect(stdout).toContain('0 processes, no files')
  expect(stdout).toMatch(/\nEvery step went as told\.\n$/)
})

test.each([['1'], ['9'], ['two'], ['2', '3']])('%s is wrong usage', async (...words) => {
  const { code, stderr } = await runNode([STORY, ...words])
  expect([code, stderr]).toEqual([2, expect.stringContaining('N is a number')])
})
