import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Instance, startInstance } from '../harness/instance.ts'
import { scratchDirectory } from '../harness/scratch.ts'
import { openSession } from '../simulate/request.ts'

let scratch: Awaited<ReturnType<typeof scratchDirectory>>
let instance: Instance
let file: string

beforeEach(async () => {
  scratch = await scratchDirectory()
  file = join(scratch.path, 'audit.log')
  const config = `[audit]\nfile = ${JSON.stringify(file)}\njournal = false\n`
  instance = await startInstance(scratch.path, { config })
})

afterEach(async () => {
  await instance?.stop()
  await scratch?.[Symbol.asyncDispose]()
})

/** What of a kind the file holds. */
const inFile = (event: string): number => readFileSync(file, 'utf8').split(`"${event}"`).length - 1
const inLog = () => instance.agent.records.filter(({ audit }) => audit === true)

/** One more token, and lines of the log that come after whatever it caused there. */
async function mint(): Promise<void> {
  await openSession(`unix:${instance.metadataSocket}`)
  const reloads = () =>
    instance.agent.records.filter(({ msg }) => msg?.startsWith('configuration reloaded')).length
  const before = reloads()
  instance.agent.child.kill('SIGHUP')
  await expect.poll(reloads, { timeout: 120_000 }).toBe(before + 1)
}

/** The disk as it is for the agent, as in test/audit/file.test.ts. */
const diskHolds = (bytes: number | 'unlimited') =>
  execFileSync('prlimit', [`--pid=${instance.agent.child.pid}`, `--fsize=${bytes}:unlimited`])

test('without audit.journal, records are in the file and not in the log', async () => {
  await mint()
  await expect.poll(() => inFile('token.issued'), { timeout: 120_000 }).toBe(1)
  await expect.poll(() => inFile('config.reloaded'), { timeout: 120_000 }).toBe(1)
  expect(inLog()).toEqual([])
  expect(instance.agent.records.some(({ msg }) => msg === 'ready')).toBe(true)
})

test('without audit.journal, what a full disk may lose is in the log after all', async () => {
  await mint()
  diskHolds(1)
  await mint()
  await instance.agent.until(({ code }) => code === 'DIRECTORY_FAULT')
  await mint()
  expect(inLog().map(({ event }) => event)).toContain('token.issued')
  diskHolds('unlimited')
  await expect.poll(() => inFile('token.issued'), { timeout: 120_000 }).toBe(3)
  const before = inLog().length
  await mint()
  await expect.poll(() => inFile('token.issued'), { timeout: 120_000 }).toBe(4)
  expect(inLog()).toHaveLength(before)
})
