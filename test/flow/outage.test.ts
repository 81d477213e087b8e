import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ADMIN_CALLS } from '../../src/admin-api.ts'
import { readAdmin } from '../../src/admin-client.ts'
import { BACKOFF_MS } from '../../src/metadata/backoff.ts'
import type { Simulator } from '../../src/simulate/simulator.ts'
import { startSimulator } from '../../src/simulate/simulator.ts'
import { type AgentProcess, type LogRecord, startAgentProcess } from '../harness/agent.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { type Client, clientOf } from './requests.ts'

const ID = '/latest/meta-data/instance-id'
const HOSTNAME = '/latest/meta-data/hostname'
const ROLE = '/latest/meta-data/ram/security-credentials/demo-role'
const ROLES = '/latest/meta-data/ram/security-credentials'
const DOCUMENT = '/latest/dynamic/instance-identity/document'
const PATHS = [ID, HOSTNAME, ROLE, ROLES, DOCUMENT, '/latest/meta-data/mac']
// After a change this long, what is cached has been kept, with a margin for a busy machine.
const KEPT_MS = 3500

let directory: string
let cloud: Simulator
let instance: Instance
let client: Client
let others: AgentProcess[]

beforeEach(async () => {
  directory = await mkdtemp('/tmp/mb-outage-')
  cloud = await startSimulator({ role: 'demo-role' })
  instance = await startInstance(directory, { source: cloud.url })
  client = await clientOf(instance.metadataSocket)
  others = []
})

afterEach(async () => {
  client.close()
  for (const other of others) await other.stop('SIGKILL')
  await instance.stop()
  await cloud.close()
  await rm(directory, { recursive: true })
})

/** A directory may have been asked for with its slash. */
function readsOf(path: string): number {
  const targets = [path, `${path}/`]
  return cloud.requests.filter(({ method, target }) => method === 'GET' && targets.includes(target))
    .length
}

async function readAll(from: Client = client): Promise<Map<string, string>> {
  const read = new Map<string, string>()
  for (const path of PATHS) {
    const { status, body } = await from.get(path)
    expect([path, status]).toEqual([path, 200])
    read.set(path, body)
  }
  return read
}

/** Ends the agent and starts another one, which sees boot time moved on. */
async function restartLater(seconds: number, signal: NodeJS.Signals): Promise<AgentProcess> {
  client.close()
  await instance.agent.stop(signal)
  const through = seconds === 0 ? [] : ['unshare', '--time', '--boottime', String(seconds)]
  const agent = startAgentProcess([join(directory, 'instance.toml')], { through })
  others.push(agent)
  return agent
}

async function problemCode(): Promise<unknown> {
  const sockets = { metadata: instance.metadataSocket, admin: instance.adminSocket }
  const status = await readAdmin(sockets, ADMIN_CALLS.status)
  return status.problem?.code
}

describe('a source that falls silent', () => {
  for (const fault of [
    { kind: 'reset' },
    { kind: 'stall' },
    { kind: 'status', code: 503 },
  ] as const) {
    test(`(${JSON.stringify(fault)}) is not noticed by cached readers, and its end makes no stampede`, async () => {
      const before = await readAll()
      cloud.faults.set(fault)
      const asked = cloud.requests.length
      for (let round = 0; round < 20; round += 1) {
        expect(await readAll()).toEqual(before)
        await sleep(100)
      }
      expect(cloud.requests.length).toBe(asked)
      cloud.faults.clear()
      await Promise.all(Array.from({ length: 500 }, (_, at) => client.get(PATHS[at % 6] ?? ID)))
      expect(cloud.requests.length - asked).toBeLessThanOrEqual(2 * PATHS.length)
    })
  }

  test('refuses what is not cached, to a thousand at once and without one wait each', async () => {
    cloud.faults.set({ kind: 'stall' })
    const asked = cloud.requests.length
    const callers = Array.from({ length: 1000 }, (_, at) => `/latest/meta-data/x${at % 50}`)
    const answers = await Promise.all(callers.map((path) => client.get(path)))
    // Of fifty paths each is asked for once at most: those who come later wait with the first.
    expect(cloud.requests.length - asked).toBeLessThanOrEqual(50)
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([503]))
    expect(answers[0]?.headers['retry-after']).toBe('1')
    const known = readsOf('/latest/meta-data/x1')
    const sinceMs = performance.now()
    for (let read = 0; read < 50; read += 1) {
      expect((await client.get('/latest/meta-data/x1')).status).toBe(503)
    }
    // A failed read keeps the next from the source for three quarters of this at least.
    const triesMax = 1 + (performance.now() - sinceMs) / (0.75 * BACKOFF_MS)
    expect(readsOf('/latest/meta-data/x1') - known).toBeLessThanOrEqual(triesMax)
  })
})

describe('a restart during an outage', () => {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    test(`by ${signal} is survived: ready again, the same token, the same answers, ten minutes on`, async () => {
      const before = await readAll()
      if (signal === 'SIGKILL') await sleep(KEPT_MS)
      const asked = cloud.requests.length
      cloud.faults.set({ kind: 'reset' })
      const agent = await restartLater(600, signal)
      await agent.ready()
      await agent.until(({ msg }) => msg === 'running on what this boot proved before')
      expect(await readAll()).toEqual(before)
      const hostname = await client.get(HOSTNAME)
      expect(hostname.headers['x-metabind-cache']).toBe('stale')
      expect(Number(hostname.headers.age)).toBeGreaterThanOrEqual(600)
      expect((await client.get(ID)).headers['x-metabind-cache']).toBe('hit')
      expect((await client.get(ROLE)).headers['x-metabind-cache']).toBe('hit')

      cloud.faults.clear()
      await agent.until(({ msg }) => msg === 'the source confirms the instance')
      const outage = cloud.requests.length
      expect(outage - asked).toBeLessThan(40)
      await Promise.all(Array.from({ length: 500 }, (_, at) => client.get(PATHS[at % 6] ?? ID)))
      // Three of the six have aged, and a token may be made.
      expect(cloud.requests.length - outage).toBeLessThanOrEqual(PATHS.length)
    })
  }

  test('of another boot is not: nothing opens, and the agent waits for the source', async () => {
    await readAll()
    await sleep(KEPT_MS)
    cloud.faults.set({ kind: 'reset' })
    client.close()
    await instance.agent.stop()
    await instance.tpm.reset()
    const agent = startAgentProcess([join(directory, 'instance.toml')])
    others.push(agent)
    const unusable = ({ code }: LogRecord) => code === 'KEPT_UNUSABLE'
    await agent.until(unusable)
    await agent.until(({ msg, state }) => msg === 'boot waits' && state === 'asking-source')
    expect(agent.records.some(({ msg }) => msg === 'ready')).toBe(false)
    await sleep(3000)
    cloud.faults.clear()
    await agent.ready()
    // Once for each of the two files, however often boot tried.
    expect(agent.records.filter(unusable).length).toBe(2)
    await readAll(await clientOf(instance.metadataSocket))
    await sleep(KEPT_MS)
    // Replaced: the next start has nothing to say about it.
    await agent.stop()
    const next = startAgentProcess([join(directory, 'instance.toml')])
    others.push(next)
    await next.ready()
    expect(next.records.filter(unusable)).toEqual([])
  })

  test('with a damaged proof waits; with damaged values it is ready without them', async () => {
    await readAll()
    await sleep(KEPT_MS)
    cloud.faults.set({ kind: 'reset' })
    await damage('kept-items')
    const agent = await restartLater(0, 'SIGKILL')
    await agent.ready()
    expect(agent.records.filter(({ code }) => code === 'KEPT_UNUSABLE').length).toBe(1)
    expect((await client.get(HOSTNAME)).status).toBe(503)
    await agent.stop('SIGKILL')
    await damage('kept-proof')
    const next = startAgentProcess([join(directory, 'instance.toml')])
    others.push(next)
    await next.until(({ msg }) => msg === 'boot waits')
    expect(await problemCode()).toBe('SOURCE_DOWN')
  })

  test('in which the source becomes another instance stops the trust in what was kept', async () => {
    await readAll()
    const { port } = new URL(cloud.url)
    await cloud.close()
    const agent = await restartLater(0, 'SIGTERM')
    await agent.ready()
    cloud = await startSimulator({ role: 'demo-role', listen: { port: Number(port) } })
    await agent.until(({ event, code }) => event === 'agent.stopped' && code === 'SOURCE_OTHER')
    expect((await client.get(ID)).status).toBe(503)
    expect(await problemCode()).toBe('SOURCE_OTHER')
    await agent.stop()
    const next = startAgentProcess([join(directory, 'instance.toml')])
    others.push(next)
    await next.until(({ msg }) => msg === 'the source names another instance')
    await next.ready()
    const newcomer = await clientOf(instance.metadataSocket)
    const role = await newcomer.get(ROLE)
    expect(role.headers['x-metabind-cache']).toBe('miss')
    expect((await newcomer.get(ID)).body).toBe(cloud.instanceId)
    newcomer.close()
  })
})

describe('a role that is taken from the instance', () => {
  test('while no agent runs is not served by the next, nor by one in an outage after it', async () => {
    await readAll()
    await sleep(KEPT_MS)
    cloud.setRole(undefined)
    const agent = await restartLater(61, 'SIGKILL')
    await agent.ready()
    await expect.poll(async () => (await client.get(ROLE)).status).toBe(404)
    await sleep(KEPT_MS)
    cloud.faults.set({ kind: 'reset' })
    await agent.stop('SIGKILL')
    const next = startAgentProcess([join(directory, 'instance.toml')])
    others.push(next)
    await next.ready()
    expect((await client.get(ROLE)).status).toBe(503)
    expect((await client.get('/latest/meta-data/mac')).status).toBe(200)
  })
})

test('nothing secret is on disk in clear, nor in the log', async () => {
  const { AccessKeyId, AccessKeySecret, SecurityToken } = JSON.parse((await client.get(ROLE)).body)
  await readAll()
  await sleep(KEPT_MS)
  await client.get('/latest/meta-data/kms-server')
  await instance.agent.stop()
  const files = await readdir(instance.runtimeDirectory)
  expect(files.toSorted()).toEqual(expect.arrayContaining(['kept-items', 'kept-proof']))
  for (const name of files) {
    const file = join(instance.runtimeDirectory, name)
    expect([name, ((await stat(file)).mode & 0o777).toString(8)]).toEqual([name, '600'])
  }
  const clear = [AccessKeyId, AccessKeySecret, SecurityToken, cloud.instanceId]
  const written = Buffer.concat(
    await Promise.all(files.map((name) => readFile(join(instance.runtimeDirectory, name)))),
  ).toString('latin1')
  for (const text of clear) {
    expect(written).not.toContain(text)
    // The values stand in the sealed text in base64, at any of three offsets.
    for (const pad of ['', 'x', 'xx']) {
      const encoded = Buffer.from(pad + text).toString('base64')
      expect(written).not.toContain(encoded.slice(4, 40))
    }
  }
  for (const secret of [AccessKeySecret, SecurityToken]) {
    expect(instance.agent.output()).not.toContain(secret)
  }
})

async function damage(name: string): Promise<void> {
  const file = join(instance.runtimeDirectory, name)
  const bytes = await readFile(file)
  const middle = bytes.length >> 1
  bytes[middle] = (bytes[middle] ?? 0) ^ 1
  await writeFile(file, bytes)
}
