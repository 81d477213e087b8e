import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { inheritedSockets } from '../../src/agent/socket-activation.ts'
import { type AgentProcess, startAgentProcess } from '../harness/agent.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { listenForNotify, type NotifySocket } from '../harness/notify-socket.ts'
import { requireRootHere } from '../harness/root.ts'

const UNTOLD = 'systemd could not be told'
const INSTANCE_ID = 'i-notify00000000000000'

interface Watched {
  readonly instance: Instance
  readonly systemd: NotifySocket
}

async function watchedInstance(env: NodeJS.ProcessEnv = {}, config = ''): Promise<Watched> {
  const directory = await mkdtemp('/tmp/metabind-notify-')
  const path = join(directory, 'notify')
  const systemd = await listenForNotify(path)
  const agent = { env: { NOTIFY_SOCKET: path, ...env } }
  const instance = await startInstance(directory, { instanceId: INSTANCE_ID, config, agent })
  onTestFinished(async () => {
    await instance.stop()
    systemd.close()
    await rm(directory, { recursive: true, force: true })
  })
  return { instance, systemd }
}

/** An agent that begins with this configuration alone; `HERE` in it is the test's directory. */
async function failing(config: string): Promise<{ agent: AgentProcess; systemd: NotifySocket }> {
  const directory = await mkdtemp('/tmp/metabind-notify-')
  const [path, file] = [join(directory, 'notify'), join(directory, 'a.toml')]
  for (const name of ['run', 'state']) await mkdir(join(directory, name))
  const directories = '[directories]\nruntime = "HERE/run"\nstate = "HERE/state"\n'
  const text = config.includes('[directories]') ? config : `${config}\n${directories}`
  await writeFile(file, text.replaceAll('HERE', directory))
  const systemd = await listenForNotify(path)
  const agent = startAgentProcess([file], { env: { NOTIFY_SOCKET: path } })
  onTestFinished(async () => {
    await agent.stop('SIGKILL')
    systemd.close()
    await rm(directory, { recursive: true, force: true })
  })
  return { agent, systemd }
}

test('systemd is told each step, that the agent serves, and that it ends', async () => {
  const { instance, systemd } = await watchedInstance()
  await systemd.until(/^READY=1/)
  await instance.agent.stop()
  await systemd.until(/^STOPPING=1/)
  expect(systemd.messages).toEqual([
    'STATUS=making the keys of the TPM',
    'STATUS=asking the metadata service which instance this is',
    'STATUS=testing what the TPM and the metadata service say of this instance',
    'STATUS=deriving the token keys',
    `READY=1 STATUS=serving ${INSTANCE_ID}`,
    'STOPPING=1 STATUS=answering what is under way, then ending',
  ])
})

test.each([
  [
    'a configuration that is not valid',
    'nothing = true',
    /The configuration is not valid\..*nothing/,
  ],
  [
    'a runtime directory that nobody made',
    '[directories]\nruntime = "HERE/none"\nstate = "HERE/state"',
    /directory of metabind does not exist\. \S+\/none .*RuntimeDirectory=/,
  ],
  [
    'a state directory that nobody made',
    '[directories]\nruntime = "HERE/run"\nstate = "HERE/none"',
    /directory of metabind does not exist\. \S+\/none .*StateDirectory=/,
  ],
  ['a directory that is unsafe', '[audit]\nfile = "/dev/null"', /unsafe owner, mode or kind/],
  [
    'a socket of another',
    '[listen]\nadmin_socket = "/dev/null"',
    /cannot listen on its socket or port/,
  ],
])('systemd is told why an agent cannot begin, for a while: %s', async (_what, config, reason) => {
  const { agent, systemd } = await failing(config)
  await systemd.until(reason)
  expect(systemd.messages.at(-1)).toMatch(/^STATUS=cannot go on: /)
  expect(agent.child.exitCode).toBeNull()
  // Who has mended it need not wait.
  expect(await agent.stop()).toBe(1)
})

test('a state directory that cannot be written keeps no agent from starting, and is in the log', async () => {
  requireRootHere('a mount')
  const directory = await mkdtemp('/tmp/metabind-notify-')
  const [path, state] = [join(directory, 'notify'), join(directory, 'state')]
  const systemd = await listenForNotify(path)
  onTestFinished(async () => {
    systemd.close()
    await rm(directory, { recursive: true, force: true })
  })
  await startInstance(directory).then((instance) => instance.stop())
  const mounts = `mount --bind ${state} ${state} && mount -o remount,ro,bind ${state} && exec "$@"`
  const through = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', mounts, 'sh']
  const instance = await startInstance(directory, {
    agent: { env: { NOTIFY_SOCKET: path }, through },
  })
  onTestFinished(() => instance.stop())
  await systemd.until(/^READY=1/)
  const problem = await instance.agent.until(
    ({ msg }) => msg === 'the record of this instance is not written',
  )
  expect(problem).toMatchObject({ level: 'warn', code: 'DIRECTORY_FAULT' })
})

test('systemd that does not read keeps nobody waiting, and is told what it missed', async () => {
  const directory = await mkdtemp('/tmp/metabind-notify-')
  const path = join(directory, 'notify')
  const systemd = await listenForNotify(path)
  onTestFinished(() => systemd.close())
  systemd.stall()
  const agent = { env: { NOTIFY_SOCKET: path, WATCHDOG_USEC: '200000' } }
  // Ready by its own word, while nothing of it has arrived.
  const instance = await startInstance(directory, { instanceId: INSTANCE_ID, agent })
  onTestFinished(async () => {
    await instance.stop()
    await rm(directory, { recursive: true, force: true })
  })
  expect(systemd.messages.filter((message) => message !== 'FILL=1')).toEqual([])
  expect(instance.agent.records.filter(({ msg }) => msg === UNTOLD)).not.toEqual([])
  systemd.goOn()
  await systemd.until(/^READY=1/)
  await systemd.until(/^WATCHDOG=1/)
  const told = systemd.messages.filter((message) => /^(?:STATUS|READY)/.test(message))
  expect(told.at(-1)).toBe(`READY=1 STATUS=serving ${INSTANCE_ID}`)
  expect(told).toHaveLength(5)
})

test('a reload stands between RELOADING=1 with its time and READY=1', async () => {
  const { instance, systemd } = await watchedInstance()
  await systemd.until(/^READY=1/)
  const before = systemd.messages.length
  instance.agent.child.kill('SIGHUP')
  await systemd.until(/^READY=1$/, before)
  expect(systemd.messages.slice(before)).toEqual([
    expect.stringMatching(/^RELOADING=1 MONOTONIC_USEC=[0-9]+$/),
    'READY=1',
  ])
})

test('readiness is withdrawn while the TPM is away, and a reload does not feign it', async () => {
  const { instance, systemd } = await watchedInstance({}, '[tpm]\nrecheck_seconds = 1\n')
  await systemd.until(/^READY=1/)
  const ready = systemd.messages.length
  await instance.tpm.kill()
  await systemd.until(
    /^RELOADING=1 MONOTONIC_USEC=[0-9]+ STATUS=neither issuing nor accepting tokens: /,
    ready,
  )
  const away = systemd.messages.length
  instance.agent.child.kill('SIGHUP')
  await instance.agent.until((record) => record.msg?.startsWith('configuration reloaded') === true)
  await systemd.until(/^RELOADING=1/, away)
  await instance.tpm.start()
  // Another null seed: the first TPM is not back, so the agent stays withdrawn.
  await instance.agent.until((record) => record.code === 'TPM_OTHER')
  expect(systemd.messages.slice(ready).filter((message) => /^READY=1/.test(message))).toEqual([])
})

test('the watchdog is fed at least twice in its time', async () => {
  const { systemd } = await watchedInstance({ WATCHDOG_USEC: '200000' })
  const fed = () => systemd.messages.filter((message) => message === 'WATCHDOG=1').length
  await systemd.until(/^READY=1/)
  const before = fed()
  await new Promise((resolve) => setTimeout(resolve, 1000))
  expect(fed() - before).toBeGreaterThanOrEqual(8)
})

test('the watchdog of another process is left alone', async () => {
  const { systemd } = await watchedInstance({ WATCHDOG_USEC: '20000', WATCHDOG_PID: '1' })
  await systemd.until(/^READY=1/)
  expect(systemd.messages).not.toContain('WATCHDOG=1')
})

test('inherited sockets and logs are known by their names', () => {
  const names = 'admin:metadata:credentials-uri:ima-log'
  const env = { LISTEN_PID: '7', LISTEN_FDS: '4', LISTEN_FDNAMES: names }
  const sockets = { admin: 3, metadata: 4, 'credentials-uri': 5 }
  expect(inheritedSockets(env, 7)).toEqual({ ...sockets, 'ima-log': 6 })
  expect(inheritedSockets(env, 8)).toEqual({})
  expect(inheritedSockets({}, 7)).toEqual({})
})

test.each(['unknown', 'metadata:metadata', 'metadata:'])(
  'sockets named %s are refused',
  (names) => {
    const env = { LISTEN_PID: '7', LISTEN_FDS: '2', LISTEN_FDNAMES: names }
    expect(() => inheritedSockets(env, 7)).toThrow(/cannot listen/)
  },
)
