import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { startAgentProcess } from '../harness/agent.ts'
import { call, TOKEN_HEADER } from '../harness/http.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { newToken } from '../harness/metabind.ts'
import { scratchDirectory } from '../harness/scratch.ts'

/** Every way out of an agent: what it did last is in the audit file, and nobody is waited for who never answers. */

vi.setConfig({ testTimeout: 60_000 })

const IDENTITY = '/metabind/v1/identity?audience=somebody'

let stack: AsyncDisposableStack
let directory: string
let closed: Promise<unknown>

beforeEach(async () => {
  stack = new AsyncDisposableStack()
  directory = stack.use(await scratchDirectory()).path
})
afterEach(() => stack.disposeAsync())

async function started(config: string, env: NodeJS.ProcessEnv = {}): Promise<Instance> {
  const file = JSON.stringify(join(directory, 'audit.log'))
  const instance = await startInstance(directory, {
    config: `${config}\n[audit]\nfile = ${file}\ncheckpoint_seconds = 3600\n`,
    agent: { env },
  })
  closed = once(instance.agent.child, 'close')
  stack.defer(() => instance.stop())
  stack.defer(() => instance.tpm.resume())
  return instance
}

async function askIdentity(instance: Instance, token: string): Promise<number> {
  const headers = [TOKEN_HEADER, token]
  return (await call(instance.metadataSocket, { path: IDENTITY, headers })).status
}

/** A request that waits for a TPM which does not answer. */
async function waitForTpm(instance: Instance): Promise<void> {
  const token = await newToken(instance)
  instance.tpm.pause()
  askIdentity(instance, token).catch(() => undefined)
  await new Promise((resolve) => setTimeout(resolve, 500))
}

/** Its exit code, when all that it wrote has been read. */
async function exitOf({ agent }: Instance): Promise<number | null> {
  await closed
  return agent.child.exitCode
}

interface Recorded {
  readonly event: string
  readonly code?: string
  readonly detail?: string
}

async function recordsOf(): Promise<Recorded[]> {
  const text = await readFile(join(directory, 'audit.log'), 'utf8')
  return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]))
}

/** The last record of the chain, and the same one in the log. */
async function lastOf(instance: Instance): Promise<Recorded | undefined> {
  const last = (await recordsOf()).at(-1)
  expect(instance.agent.records.some(({ msg }) => msg === last?.event)).toBe(true)
  return last
}

test('SIGTERM while a caller waits for a TPM that does not answer', async () => {
  const instance = await started('[tpm]\nrecheck_seconds = 3600')
  await waitForTpm(instance)
  instance.agent.child.kill('SIGTERM')
  expect(await exitOf(instance)).toBe(0)
  expect(await lastOf(instance)).toMatchObject({ event: 'agent.ended' })
})

test('SIGTERM while a caller waits for a source that does not answer', async () => {
  const instance = await started('[source]\ntimeout_ms = 60000\nconnect_timeout_ms = 60000')
  const token = await newToken(instance)
  instance.cloud?.faults.set({ kind: 'stall' })
  const headers = [TOKEN_HEADER, token]
  call(instance.metadataSocket, { path: '/latest/meta-data/zone-id', headers }).catch(
    () => undefined,
  )
  await expect.poll(() => instance.cloud?.requests.length).toBeGreaterThan(0)
  instance.agent.child.kill('SIGTERM')
  expect(await exitOf(instance)).toBe(0)
  const events = (await recordsOf()).map(({ event }) => event)
  expect(events.slice(-2)).toEqual(['agent.ended', 'chain.checkpoint'])
})

test('SIGTERM while a caller reads none of its answer', async () => {
  const instance = await started('')
  const caller = connect(instance.metadataSocket)
  stack.defer(() => void caller.destroy())
  caller.on('error', () => undefined).pause()
  await once(caller, 'connect')
  caller.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  await instance.agent.until(({ code }) => code === 'TOKEN_MISSING')
  instance.agent.child.kill('SIGTERM')
  expect(await exitOf(instance)).toBe(0)
  const events = (await recordsOf()).map(({ event }) => event)
  expect(events.slice(-2)).toEqual(['agent.ended', 'chain.checkpoint'])
})

test('a TPM that is stuck for callers ends the agent, before the keys are refreshed', async () => {
  const instance = await started('[tpm]\nrecheck_seconds = 3600\ncommand_timeout_ms = 300')
  const token = await newToken(instance)
  instance.tpm.pause()
  for (let asked = 0; asked < 3; asked += 1) {
    expect(await askIdentity(instance, token).catch(() => 503)).toBe(503)
  }
  expect(await exitOf(instance)).toBe(1)
  expect(instance.agent.output()).toContain('metabindd: The TPM has stopped answering')
  expect(await lastOf(instance)).toMatchObject({ event: 'agent.ended', code: 'TPM_STUCK' })
})

test.each([
  ['an exception that nobody caught', "throw new Error('planted')"],
  ['a rejection that nobody handled', "void Promise.reject(new Error('planted'))"],
])('%s, while a call waits for a TPM that does not answer', async (_what, how) => {
  const planted = encodeURIComponent(`process.on('SIGUSR2', () => { ${how} })`)
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${planted.replaceAll("'", '%27')}` }
  const instance = await started('[tpm]\nrecheck_seconds = 3600', env)
  await waitForTpm(instance)
  instance.agent.child.kill('SIGUSR2')
  expect(await exitOf(instance)).toBe(1)
  const [logged, ...others] = instance.agent.records.filter(({ cause }) => cause === 'planted')
  expect(logged).toMatchObject({ level: 'error', stack: expect.stringContaining('planted') })
  expect(others).toEqual([])
  const last = { event: 'agent.ended', code: 'INTERNAL', detail: 'planted' }
  expect(await lastOf(instance)).toMatchObject(last)
})

test('an agent that cannot begin says so in its log, too', async () => {
  const config = join(directory, 'unusable.toml')
  const directories = `[directories]\nruntime = "${directory}"\nstate = "${directory}"\n`
  await writeFile(config, `[tpm]\nek_anchors = "/nonexistent/anchors"\n${directories}`)
  const { child, records } = startAgentProcess([config])
  expect(await once(child, 'close')).toEqual([1, null])
  expect(records.map(({ msg }) => msg)).toEqual(['starting', 'cannot go on'])
})
