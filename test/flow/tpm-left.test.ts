import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type FaultingProxy, startFaultingProxy } from '../../native/tpm2-js/test/faulting-proxy.ts'
import { type AgentProcess, startAgentProcess } from '../harness/agent.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { agentStatus, eventually, newToken, scratch, statusOf } from '../harness/metabind.ts'

/** Whole agents on a TPM that fails, or that keeps what killed agents had loaded. */

vi.setConfig({ testTimeout: 90_000 })

let stack: AsyncDisposableStack
let instance: Instance
let proxy: FaultingProxy
beforeEach(async () => {
  stack = new AsyncDisposableStack()
  const directory = stack.use(await scratch()).path
  instance = await startInstance(directory)
  stack.defer(() => instance.stop())
  await instance.agent.stop()
  proxy = stack.use(await startFaultingProxy(instance.tpm))
  const toml = `tpm.tcti = ${JSON.stringify(proxy.tcti)}\ntpm.recheck_seconds = 1\n`
  await writeFile(join(directory, 'faulting.toml'), toml)
})
afterEach(() => stack.disposeAsync())

function launch(): AgentProcess {
  const configs = ['instance.toml', 'faulting.toml'].map((name) => join(instance.directory, name))
  const agent = startAgentProcess(configs)
  stack.defer(() => agent.stop().then(() => undefined))
  return agent
}

/** Kills an agent while the TPM carries out a command that leaves something loaded. */
async function killedDuring(command: 'CreatePrimary' | 'StartAuthSession'): Promise<void> {
  proxy.fail(command, ['unanswered'])
  const agent = launch()
  const exited = once(agent.child, 'exit')
  await expect.poll(() => proxy.failed()).toBe(1)
  agent.child.kill('SIGKILL')
  await exited
  proxy.heal()
}

test.each([
  ['CreatePrimary', 3],
  ['StartAuthSession', 3],
] as const)(
  'agents killed during %s leave nothing that the next cannot mend',
  async (command, times) => {
    for (let killed = 0; killed < times; killed += 1) await killedDuring(command)
    const agent = launch()
    await agent.ready()
    const waits = agent.records.filter(({ msg }) => msg === 'boot waits')
    for (const { code } of waits) expect(code).toBe('TPM_FULL')
    expect(agent.output()).toContain('TPM_RC_OBJECT_MEMORY')
    expect(await statusOf(instance, await newToken(instance))).toBe(200)
  },
)

test('an agent that starts says what it waits for, and is ready when it has passed', async () => {
  proxy.failForEver('GetCapability', 0x100)
  const agent = launch()
  await agent.until(({ msg }) => msg === 'boot waits')
  expect(await agentStatus(instance)).toMatchObject({
    state: 'opening-tpm',
    problem: { code: 'TPM_FAULT', sentence: expect.stringContaining('TPM_RC_INITIALIZE') },
  })
  proxy.heal()
  proxy.failForEver('Certify', 0x90a)
  await eventually(
    () => agentStatus(instance),
    ({ problem }) => problem?.sentence.includes('TPM_RC_TESTING') === true,
  )
  proxy.heal()
  await agent.ready()
})

test('an agent that runs stops issuing, says why, and resumes', async () => {
  const agent = launch()
  await agent.ready()
  const token = await newToken(instance)
  // The connection is lost, and the TPM refuses whoever opens it anew.
  proxy.fail('CreatePrimary', ['lost before'])
  proxy.failForEver('GetCapability', 0x100)
  await agent.until(({ msg, code }) => msg === 'agent.stopped' && code === 'TPM_FAULT')
  expect(await agentStatus(instance)).toMatchObject({
    state: 'stopped',
    problem: { sentence: expect.stringContaining('TPM_RC_INITIALIZE') },
  })
  expect(await statusOf(instance, token)).toBe(503)
  proxy.heal()
  await agent.until(({ msg }) => msg === 'agent.resumed')
  expect(await statusOf(instance, token)).toBe(200)
})
