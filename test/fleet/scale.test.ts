import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { runNode, scratch } from '../harness/metabind.ts'

const FLEET = fileURLToPath(new URL('../../bench/fleet/run.ts', import.meta.url))
const COUNT = 20

test('./dev bench fleet: twenty instances enrol, renew, exchange tokens, and come back after an outage', async () => {
  await using directory = await scratch()
  const json = join(directory.path, 'report.json')
  const keys = join(directory.path, 'keys.json')
  const args = [FLEET, '--instances', String(COUNT), '--json', json, '--keys', keys]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  expect(stdout).toContain('| enrolment |')
  const report = JSON.parse(await readFile(json, 'utf8'))
  expect(report).toMatchObject({ instances: COUNT, memory: { idleMib: expect.any(Number) } })
  expect(
    report.phases.map(({ name, times }: { name: string; times: number }) => [name, times]),
  ).toEqual([
    ['enrolment', COUNT],
    ['renewal', COUNT],
    ['token, RS256', COUNT],
    ['token, ES256', COUNT],
    ['storm through a proxy', COUNT],
    ['storm without one', COUNT],
  ])
  // A busy machine may keep one waiting for too long; no limit refuses any of so few.
  const refused = report.phases.flatMap(({ refusals }: { refusals: object }) =>
    Object.keys(refusals),
  )
  expect(refused.filter((why: string) => /^\d+$/.test(why))).toEqual([])
})

test('a number that is none is wrong usage', async () => {
  const { code, stderr } = await runNode([FLEET, '--instances', 'many'])
  expect([code, stderr]).toEqual([2, expect.stringContaining('--instances')])
})
