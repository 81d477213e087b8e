import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { bootTimeMs } from 'metabind-linux'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { tpm2 } from '../../native/tpm2-js/test/tools.ts'
import { createInstanceKeys, instanceTpm, rootHmacs } from '../../src/identity/tpm.ts'
import { startSimulator } from '../../src/simulate/simulator.ts'
import { type AgentProcess, startAgentProcess } from '../harness/agent.ts'
import { falseClock, removeEndedClocks } from '../harness/false-clock.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { keysOnTpm } from '../harness/keys.ts'
import {
  agentStatus,
  ask,
  eventually,
  metabind,
  newToken,
  scratch,
  statusOf,
  TOKEN_PATH,
  TTL_HEADER,
} from '../harness/metabind.ts'

// One test starts up to eight agents one after the other; a loaded machine takes seconds for each.
vi.setConfig({ testTimeout: 120_000 })

const HOUR_S = 3600

let stack: AsyncDisposableStack
let directory: string
beforeEach(async () => {
  stack = new AsyncDisposableStack()
  directory = stack.use(await scratch()).path
})
afterEach(() => stack.disposeAsync())

async function started(options: Parameters<typeof startInstance>[1] = {}): Promise<Instance> {
  const instance = await startInstance(directory, options)
  stack.defer(() => instance.stop())
  return instance
}

/** Ends the agent and starts another on the same everything, in other circumstances. */
async function restartedIn(
  instance: Instance,
  options: Parameters<typeof startAgentProcess>[1],
): Promise<AgentProcess> {
  await instance.agent.stop()
  const configs = [join(instance.directory, 'instance.toml')]
  const agent = startAgentProcess(configs, options)
  stack.defer(() => agent.stop().then(() => undefined))
  await agent.ready()
  return agent
}

/** Boot time as it would be after so many seconds. */
const atBootTime = (seconds: number) => ['unshare', '--time', `--boottime=${seconds}`]

/** Another boot id, for the agent alone. */
async function underBootId(bootId: string): Promise<string[]> {
  const file = join(directory, `boot-id-${bootId}`)
  await writeFile(file, `${bootId}\n`)
  const mount = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'
  return ['unshare', '--mount', 'sh', '-c', mount, file]
}

const refusedToken = (instance: Instance) =>
  ask(instance.metadataSocket, 'PUT', TOKEN_PATH, { [TTL_HEADER]: '60' })

const problemOf = async (instance: Instance) => (await agentStatus(instance)).problem?.code

describe('a restart of the agent', () => {
  test.each(['SIGTERM', 'SIGKILL'] as const)('by %s keeps every token', async (signal) => {
    const instance = await started()
    const token = await newToken(instance)
    await instance.restartAgent(signal)
    expect(await statusOf(instance, token)).toBe(200)
    expect(await statusOf(instance, await newToken(instance))).toBe(200)
  })

  test('in which the runtime directory was lost ends them', async () => {
    const instance = await started()
    const token = await newToken(instance)
    await instance.agent.stop()
    await rm(instance.runtimeDirectory, { recursive: true })
    await mkdir(instance.runtimeDirectory)
    await instance.restartAgent()
    expect(await statusOf(instance, token)).toBe(401)
  })
})

describe('another boot', () => {
  test('a reboot ends every token, and the iid stays', async () => {
    const instance = await started()
    const token = await newToken(instance)
    const { identity } = await agentStatus(instance)
    await instance.reboot()
    expect(await statusOf(instance, token)).toBe(401)
    expect((await agentStatus(instance)).identity).toEqual(identity)
  })

  test('a TPM reset alone ends them, although runtime directory and boot id are the same', async () => {
    const instance = await started()
    const token = await newToken(instance)
    await instance.agent.stop()
    await instance.tpm.reset()
    await instance.restartAgent()
    expect(await statusOf(instance, token)).toBe(401)
  })

  test('a TPM Restart leaves the null seed alone, and the boot id ends them', async () => {
    const bootId = randomUUID()
    const instance = await started({ agent: { through: await underBootId(bootId) } })
    const token = await newToken(instance)
    await instance.agent.stop()

    const before = await bootKeyName(instance)
    await instance.tpm.restartState()
    expect(await bootKeyName(instance)).toBe(before)

    // The same boot id on the same null seed: it is not the TPM that ends them.
    await restartedIn(instance, { through: await underBootId(bootId) }).then(async (agent) => {
      expect(await statusOf(instance, token)).toBe(200)
      await agent.stop()
    })
    await restartedIn(instance, { through: await underBootId(randomUUID()) })
    expect(await statusOf(instance, token)).toBe(401)
    expect(await bootKeyName(instance)).toBe(before)
  })

  test('a TPM reset gives the null seed another key', async () => {
    const instance = await started()
    const before = await bootKeyName(instance)
    await instance.agent.stop()
    await instance.tpm.reset()
    expect(await bootKeyName(instance)).not.toBe(before)
  })
})

async function bootKeyName(instance: Instance): Promise<string> {
  await using made = await keysOnTpm(instance.tpm.tcti)
  return made.instanceKeys.bk.name.toString('hex')
}

describe('what others do to the TPM', () => {
  test('an owner password changes nothing', async () => {
    const instance = await started()
    const token = await newToken(instance)
    await tpm2(instance.tpm, 'changeauth', '-c', 'o', 'owner-password')
    expect(await statusOf(instance, token)).toBe(200)
    await instance.restartAgent()
    expect(await statusOf(instance, token)).toBe(200)
  })

  test('an endorsement password is named, and the agent recovers when it is cleared', async () => {
    const instance = await started({ config: '[tpm]\nrecheck_seconds = 1\n' })
    const token = await newToken(instance)
    await tpm2(instance.tpm, 'changeauth', '-c', 'e', 'endorsement-password')
    const { problem } = await eventually(
      () => agentStatus(instance),
      ({ ready }) => !ready,
    )
    expect(problem).toMatchObject({
      code: 'TPM_HIERARCHY_AUTH',
      remedy: 'Clear the endorsement authorization; the agent needs it to be empty.',
    })
    expect(await statusOf(instance, token)).toBe(503)
    await tpm2(instance.tpm, 'changeauth', '-c', 'e', '-p', 'endorsement-password')
    await eventually(
      () => agentStatus(instance),
      ({ ready }) => ready,
    )
    expect(await statusOf(instance, token)).toBe(200)
  })

  test('an agent that starts under an endorsement password waits and says so', async () => {
    const instance = await started()
    const token = await newToken(instance)
    await instance.agent.stop()
    await tpm2(instance.tpm, 'changeauth', '-c', 'e', 'endorsement-password')
    const agent = startAgentProcess([join(directory, 'instance.toml')])
    stack.defer(() => agent.stop().then(() => undefined))
    const waits = await agent.until((record) => record.msg === 'boot waits')
    expect(waits).toMatchObject({ state: 'opening-tpm', code: 'TPM_HIERARCHY_AUTH' })
    const shown = await metabind(instance, ['status'])
    expect(shown.code).toBe(1)
    expect(shown.stdout).toMatch(/^problem +TPM_HIERARCHY_AUTH: /m)
    expect(shown.stdout).toMatch(/^try +Clear the endorsement authorization/m)
    await tpm2(instance.tpm, 'changeauth', '-c', 'e', '-p', 'endorsement-password')
    await agent.ready()
    expect(await statusOf(instance, token)).toBe(200)
  })

  test('clearing it keeps EK, AK and the values of RK, and changes the Name of RK', async () => {
    const instance = await started()
    await instance.agent.stop()
    const before = await keysAndRoots(instance)
    await tpm2(instance.tpm, 'clear', '-c', 'p')
    const after = await keysAndRoots(instance)
    // The Name of a keyed hash covers its obfuscation value, which is made from the proof value of
    // the hierarchy, and TPM2_Clear replaces that (Part 3, 24.6). The secret key is made from the seed.
    expect(after.names.rk).not.toBe(before.names.rk)
    expect({ ...after.names, rk: '' }).toEqual({ ...before.names, rk: '' })
    expect(after.roots).toEqual(before.roots)
  })

  test('clearing it makes another identity: the agent stops, and old tokens are foreign', async () => {
    const instance = await started({ config: '[tpm]\nrecheck_seconds = 1\n' })
    const token = await newToken(instance)
    const { identity } = await agentStatus(instance)
    await tpm2(instance.tpm, 'clear', '-c', 'p')
    await instance.agent.until(({ msg, code }) => msg === 'agent.stopped' && code === 'TPM_OTHER')
    expect(await statusOf(instance, token)).toBe(503)
    await instance.restartAgent()
    expect(await statusOf(instance, token)).toBe(401)
    await instance.agent.until(({ msg }) => msg === 'token.foreign')
    const now = (await agentStatus(instance)).identity
    expect(now?.ekName).toBe(identity?.ekName)
    expect(now?.iid).not.toBe(identity?.iid)
  })

  test('a dictionary-attack lockout does not stop the agent', async () => {
    const instance = await started()
    const token = await newToken(instance)
    await tpm2(instance.tpm, 'dictionarylockout', '-s', '-n', '1', '-t', '1000', '-l', '1000')
    await tpm2(instance.tpm, 'createprimary', '-c', 'p.ctx', '-p', 'right')
    const signWith = (auth: string) =>
      tpm2(instance.tpm, 'create', '-C', 'p.ctx', '-P', auth, '-u', 'k.pub', '-r', 'k.priv')
    await tpm2(instance.tpm, 'flushcontext', '-t')
    await expect(signWith('wrong')).rejects.toThrow()
    await tpm2(instance.tpm, 'flushcontext', '-t')
    // TPM_RC_LOCKOUT: even the right password is not taken any more.
    await expect(signWith('right')).rejects.toThrow(/lockout/i)
    await tpm2(instance.tpm, 'flushcontext', '-t')
    await instance.restartAgent()
    expect(await statusOf(instance, token)).toBe(200)
  })
})

async function keysAndRoots(instance: Instance) {
  const tpm = instanceTpm(instance.tpm.tcti, 10_000)
  try {
    const keys = await createInstanceKeys(tpm)
    const { ek, ak, sk, rk, bk } = keys
    const names = Object.fromEntries(
      Object.entries({ ek, ak, sk, rk, bk }).map(([key, { name }]) => [key, name.toString('hex')]),
    )
    return { names, roots: await rootHmacs(tpm, keys, [Buffer.from('message')]) }
  } finally {
    await tpm.close()
  }
}

describe('a TPM that goes away while the agent runs', () => {
  const RECHECK = '[tpm]\nrecheck_seconds = 1\n'
  test('ends issuing and accepting', async () => {
    const instance = await started({ config: RECHECK })
    const token = await newToken(instance)
    await instance.tpm.kill()
    await eventually(
      () => statusOf(instance, token),
      (status) => status === 503,
    )
    expect(await refusedToken(instance)).toMatchObject({
      status: 503,
      headers: { 'retry-after': '1' },
      body: 'AGENT_NOT_READY: The agent is not ready.',
    })
    expect(await agentStatus(instance)).toMatchObject({
      state: 'stopped',
      ready: false,
      problem: { code: 'TPM_FAULT', sentence: expect.stringContaining('IO failure') },
    })
    expect(await metabind(instance, ['status'])).toMatchObject({ code: 1 })
    const healthz = await ask(instance.adminSocket, 'GET', '/metabind/v1/healthz')
    expect(healthz).toMatchObject({ status: 503, body: 'stopped' })
    const stopped = await instance.agent.until((record) => record.msg === 'agent.stopped')
    expect(stopped).toMatchObject({ audit: true, code: 'TPM_FAULT' })
  })

  test('resumes when the same TPM answers again', async () => {
    const instance = await started({ config: RECHECK })
    const token = await newToken(instance)
    // A power cycle would be another null seed: this is the same TPM, out of reach for a while.
    const socket = instance.tpm.socketPath
    await rename(socket, `${socket}.away`)
    await eventually(
      () => problemOf(instance),
      (code) => code === 'TPM_ABSENT',
    )
    expect(await statusOf(instance, token)).toBe(503)
    await rename(`${socket}.away`, socket)
    await instance.agent.until((record) => record.msg === 'agent.resumed')
    expect(await statusOf(instance, token)).toBe(200)
    expect(await agentStatus(instance)).toMatchObject({ state: 'ready', ready: true })
  })

  test('and comes back after a reset is another one: the agent stays stopped', async () => {
    const instance = await started({ config: RECHECK })
    const token = await newToken(instance)
    await instance.tpm.reset()
    await eventually(
      () => problemOf(instance),
      (code) => code === 'TPM_OTHER',
    )
    expect(await statusOf(instance, token)).toBe(503)
    await instance.restartAgent()
    expect(await statusOf(instance, token)).toBe(401)
  })

  test('and is replaced by another stops it for good', async () => {
    const instance = await started({ config: RECHECK })
    const token = await newToken(instance)
    const other = await startSwtpm()
    stack.defer(() => other.stop())
    for (const end of ['', '.ctrl']) {
      await rename(`${instance.tpm.socketPath}${end}`, `${instance.tpm.socketPath}${end}.away`)
      await rename(`${other.socketPath}${end}`, `${instance.tpm.socketPath}${end}`)
    }
    await instance.tpm.kill()
    const stopped = await instance.agent.until((record) => record.code === 'TPM_OTHER')
    expect(stopped).toMatchObject({ msg: 'agent.stopped', audit: true })
    for (let seconds = 0; seconds < 3; seconds += 1) {
      expect(await statusOf(instance, token)).toBe(503)
      expect(await refusedToken(instance)).toMatchObject({ status: 503 })
      expect(await problemOf(instance)).toBe('TPM_OTHER')
      await delay(1000)
    }
    expect(instance.agent.records.filter(({ msg }) => msg === 'agent.stopped')).toHaveLength(1)
    expect(instance.agent.records.some(({ msg }) => msg === 'agent.resumed')).toBe(false)
  })
})

describe('a TPM that takes commands and never answers', () => {
  const IMPATIENT = '[tpm]\nrecheck_seconds = 1\ncommand_timeout_ms = 300\n'

  test('ends the agent while it runs, so that it is started anew', async () => {
    const instance = await started({ config: IMPATIENT })
    const exited = once(instance.agent.child, 'exit')
    instance.tpm.pause()
    stack.defer(() => instance.tpm.resume())
    await instance.agent.until(({ msg, code }) => msg === 'agent.ended' && code === 'TPM_STUCK')
    expect(await exited).toEqual([1, null])
    expect(instance.agent.output()).toContain('metabindd: The TPM has stopped answering')
  })

  test('ends the agent while it starts', async () => {
    const instance = await started({ config: IMPATIENT })
    await instance.agent.stop()
    instance.tpm.pause()
    stack.defer(() => instance.tpm.resume())
    const configs = ['instance.toml', 'more.toml'].map((name) => join(directory, name))
    const agent = startAgentProcess(configs)
    stack.defer(() => agent.stop().then(() => undefined))
    expect(await once(agent.child, 'exit')).toEqual([1, null])
    expect(agent.output()).toContain('metabindd: The TPM has stopped answering')
  })

  test('does not keep the agent from ending', async () => {
    const instance = await started({
      config: '[tpm]\nrecheck_seconds = 1\ncommand_timeout_ms = 3000\n',
    })
    instance.tpm.pause()
    stack.defer(() => instance.tpm.resume())
    await delay(1500)
    expect(await instance.agent.stop()).toBe(0)
  })
})

describe('what is not there when the agent starts', () => {
  test('the TPM: it waits, says so, and is ready when it appears', async () => {
    const instance = await started()
    const token = await newToken(instance)
    await instance.agent.stop()
    const socket = instance.tpm.socketPath
    await rename(socket, `${socket}.away`)
    const agent = startAgentProcess([join(directory, 'instance.toml')])
    stack.defer(() => agent.stop().then(() => undefined))
    expect(await agent.until(({ msg }) => msg === 'boot waits')).toMatchObject({
      state: 'opening-tpm',
      code: 'TPM_ABSENT',
      remedy: 'Check tpm.tcti, and that this instance type has a TPM.',
    })
    expect(await agentStatus(instance)).toMatchObject({
      state: 'opening-tpm',
      ready: false,
      problem: { code: 'TPM_ABSENT' },
    })
    const refused = await metabind(instance, ['token'])
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toContain('AGENT_NOT_READY')
    expect(refused.stderr).toContain('There is no TPM at the configured place.')
    await rename(`${socket}.away`, socket)
    await agent.ready()
    expect(await statusOf(instance, token)).toBe(200)
  })

  test('the source: likewise', async () => {
    const instance = await started()
    await instance.agent.stop()
    // In the same boot it would go on with what the source said before.
    await rm(instance.runtimeDirectory, { recursive: true })
    await mkdir(instance.runtimeDirectory)
    const cloud = instance.cloud
    const port = Number(new URL(cloud?.url ?? '').port)
    await cloud?.close()
    const agent = startAgentProcess([join(directory, 'instance.toml')])
    stack.defer(() => agent.stop().then(() => undefined))
    await agent.until(({ msg, code }) => msg === 'boot waits' && code === 'SOURCE_DOWN')
    expect(await agentStatus(instance)).toMatchObject({
      state: 'asking-source',
      ready: false,
      problem: { code: 'SOURCE_DOWN' },
    })
    stack.use(await startSimulator({ instanceId: cloud?.instanceId, listen: { port } }))
    await agent.ready()
    expect(await statusOf(instance, await newToken(instance))).toBe(200)
  })

  const NONSENSE: readonly (readonly [string, string])[] = [
    ['nothing', ''],
    ['a page', '<html><body>Sign in</body></html>'],
    ['two words', 'i-one i-two'],
    ['a path', '../../etc'],
    ['a number of megabytes', 'i'.repeat(2_000_000)],
    ['129 characters', 'i'.repeat(129)],
    ['bytes', '\u0000\u0001\u0002'],
  ]
  test('a source that calls the instance by no usable name', async () => {
    let answer = ''
    const server = createServer((request, response) => {
      response.end(request.method === 'PUT' ? 'upstream-token' : answer)
    }).listen(0, '127.0.0.1')
    stack.defer(() => void server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : undefined
    const tpm = await startSwtpm()
    stack.defer(() => tpm.stop())
    for (const [name, body] of NONSENSE) {
      answer = body
      const agent = startAgentProcess([await minimalConfig(tpm.tcti, `http://127.0.0.1:${port}`)])
      const waits = await agent.until(({ msg }) => msg === 'boot waits')
      expect(waits, name).toMatchObject({ state: 'asking-source', code: 'SOURCE_NONSENSE' })
      expect(agent.output().length, name).toBeLessThan(10_000)
      expect(await agent.stop(), name).toBe(0)
    }
    answer = ' i-usable\n'
    const agent = startAgentProcess([await minimalConfig(tpm.tcti, `http://127.0.0.1:${port}`)])
    expect(await agent.ready()).toMatchObject({ instanceId: 'i-usable' })
    await agent.stop()
  })
})

async function minimalConfig(tcti: string, endpoint: string): Promise<string> {
  const at = (name: string) => JSON.stringify(join(directory, name))
  for (const name of ['run', 'state']) await mkdir(join(directory, name), { recursive: true })
  const file = join(directory, 'minimal.toml')
  await writeFile(
    file,
    `tpm.tcti = ${JSON.stringify(tcti)}
source.endpoint = ${JSON.stringify(endpoint)}
source.identity_document = "ignore"
listen.metadata_socket = ${at('metadata.sock')}
listen.admin_socket = ${at('admin.sock')}
directories.runtime = ${at('run')}
directories.state = ${at('state')}
`,
  )
  return file
}

describe('hours of boot time', () => {
  test('a token lives on through six hours of other keys, and ends on its second', async () => {
    // Offsets are added to the boot time of this machine, which is in some hour itself.
    const instance = await started({ agent: { through: atBootTime(HOUR_S) } })
    const asked = Date.now()
    const token = await newToken(instance, 21_600)
    for (const hours of [2, 4, 6]) {
      const agent = await restartedIn(instance, { through: atBootTime(hours * HOUR_S) })
      expect(await statusOf(instance, token), `after ${hours - 1} h`).toBe(200)
      await agent.stop()
    }
    // What the restarts took has passed as well.
    const left = await restartedIn(instance, {
      through: atBootTime(7 * HOUR_S - Math.ceil((Date.now() - asked) / 1000) - 10),
    })
    expect(await statusOf(instance, token)).toBe(200)
    await left.stop()
    await restartedIn(instance, { through: atBootTime(7 * HOUR_S) })
    expect(await statusOf(instance, token)).toBe(401)
    const file = join(directory, 'token')
    await writeFile(file, token)
    expect(await metabind(instance, ['inspect', file])).toMatchObject({ code: 3 })
  })

  test('a token of a later hour than this boot has reached is refused', async () => {
    const instance = await started({ agent: { through: atBootTime(9 * HOUR_S) } })
    const token = await newToken(instance, 21_600)
    await restartedIn(instance, { through: atBootTime(0) })
    expect(await statusOf(instance, token)).toBe(401)
    const inspected = await metabind(instance, ['inspect', '--json', '-'], { stdin: token })
    expect(inspected.code).toBe(5)
    expect(JSON.parse(inspected.stdout)).toMatchObject({ valid: false, code: 'TOKEN_EPOCH' })
  })

  test('two seconds are two seconds', async () => {
    const instance = await started()
    const askedAtMs = bootTimeMs()
    const token = await newToken(instance, 2)
    const issuedAtMs = bootTimeMs()
    for (let status = 200; status === 200; ) {
      status = await statusOf(instance, token)
      // Not before its time by the earliest reckoning, nor after it by the latest.
      if (status !== 200) expect([status, bootTimeMs() >= askedAtMs + 2000]).toEqual([401, true])
      else await delay(10)
    }
    await delay(Math.max(0, issuedAtMs + 2000 - bootTimeMs()))
    expect(await statusOf(instance, token)).toBe(401)
  })
})

describe('the wall clock', () => {
  test.each([
    ['back', '-10y'],
    ['forward', '+10y'],
  ])('set %s ends no token and revives none', async (_way, offset) => {
    stack.defer(removeEndedClocks)
    const instance = await started()
    const token = await newToken(instance)
    const short = await newToken(instance, 1)
    await delay(1001)
    const agent = await restartedIn(instance, { env: falseClock(offset) })
    const [record] = agent.records
    const year = new Date(String(record?.time)).getFullYear()
    expect(Math.abs(year - new Date().getFullYear())).toBe(10)
    expect(await statusOf(instance, token)).toBe(200)
    expect(await statusOf(instance, short)).toBe(401)
    expect(await statusOf(instance, await newToken(instance))).toBe(200)
  })
})
