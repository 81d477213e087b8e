import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test, vi } from 'vitest'
import { blocksOf, ROOT } from './block.ts'
import { isAsShown } from './shown.ts'

// Ends what hangs: the demonstration says itself how long it took.
vi.setConfig({ testTimeout: 600_000 })

const run = promisify(execFile)

test('the demonstration goes as told, says how far it is, and prints what README.md shows', async () => {
  const { stdout } = await run(`${ROOT}dev`, ['demo'], { env: { ...process.env, NO_COLOR: '1' } })
  expect([...stdout.matchAll(/^\[(\d)\/7, \d+ s\] /gm)].map(([, step]) => Number(step))).toEqual([
    1, 2, 3, 4, 5, 6, 7,
  ])
  expect(stdout).toMatch(/\nEvery step went as told\.\n$/)
  const quoted = blocksOf('README.md').find(
    ({ mark }) => mark.kind === 'not run' && mark.reason.includes('these lines'),
  )
  const printed = stdout.split('\n')
  for (const line of quoted?.lines ?? ['no quotation']) {
    // In the order of the page.
    const at = printed.findIndex((one) => isAsShown(line, one))
    expect(at, line).not.toBe(-1)
    printed.splice(0, at + 1)
  }
})
