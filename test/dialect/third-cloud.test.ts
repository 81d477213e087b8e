import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { httpBounds, limitBounds, sourceBounds } from '../../src/agent/settings.ts'
import { rememberCaller } from '../../src/caller/connection.ts'
import { parseConfig } from '../../src/config.ts'
import { DIALECTS } from '../../src/dialect/dialects.ts'
import { LENIENT, parseRoleCredentials, revealAs } from '../../src/dialect/role-credentials.ts'
import { listenAt } from '../../src/http/listen.ts'
import { lifetimesBy } from '../../src/metadata/lifetimes.ts'
import { type Metadata, metadataFrom } from '../../src/metadata/metadata.ts'
import { openSource } from '../../src/metadata/source.ts'
import { policyInForce } from '../../src/policy/current.ts'
import { readers } from '../../src/policy/readers.ts'
import { newCounters } from '../../src/relay/counters.ts'
import { limits } from '../../src/relay/limits.ts'
import { relay } from '../../src/relay/relay.ts'
import { type Simulator, startSimulator } from '../../src/simulate/simulator.ts'
import { tokenAuthority } from '../../src/token/authority.ts'
import { call } from '../harness/http.ts'
import { cloudToy } from './cloud-toy.ts'
import { toy } from './toy.ts'

// A third cloud is data: the agent's own metadata and relay speak its words as they stand.

const ID = toy.instanceIdPath
const ROLE = `${toy.rolesPath}app`
const USER = 61_007
const clockMs = () => performance.now()
const nothing = () => undefined

let uid = 0
let socket: string
let cloud: Simulator
let metadata: Metadata
let stop: () => Promise<void>

beforeAll(async () => {
  const directory = await mkdtemp('/tmp/third-cloud-')
  socket = join(directory, 'metadata.sock')
  await writeFile(join(directory, 'policy.toml'), '', { mode: 0o600 })
  cloud = await startSimulator({ cloud: cloudToy, role: 'app' })
  const config = parseConfig([])
  const source = openSource(toy, cloud.url, sourceBounds(config), clockMs)
  metadata = metadataFrom({
    source,
    dialect: toy,
    lifetimeOf: lifetimesBy(toy.lifetimes),
    bounds: { entriesMax: 100, bytesMax: 1_000_000 },
    clocks: { bootTimeMs: clockMs, wallTimeMs: Date.now, random: () => 0 },
    answerWithinMs: config.source.timeout_ms,
    ...{ onSource: nothing, onRefreshFailed: nothing, onUnusable: nothing },
    ...{ onRole: nothing, onCached: nothing },
  })
  const policy = policyInForce(toy.secretPaths, nothing)
  await policy.take(join(directory, 'policy.toml'))
  const keys = { iidPrefix: '00'.repeat(8), key: () => Buffer.alloc(32), isRevoked: () => false }
  const refuse = () => {
    throw new Error('not asked for here')
  }
  const app = relay({
    dialect: toy,
    tokens: tokenAuthority(keys, clockMs, () => ['uid']),
    metadata,
    identityTokens: { issue: refuse },
    proofs: { make: refuse },
    audit: nothing,
    bounds: httpBounds(config),
    limits: limits(limitBounds(config), clockMs, nothing),
    counters: newCounters(),
    ttlSecondsMax: () => toy.ttlSecondsMax,
    policy: () => policy.current().policy,
    readers: readers(() => 0),
    requireRunning: nothing,
    logFault: refuse,
    identify: (peer) =>
      rememberCaller(peer, { pid: process.pid, uid, gid: uid, groups: [uid], namespaces: [] }),
    inspect: refuse,
  })
  await listenAt(app, { path: socket, mode: 0o600, descriptor: undefined })
  stop = async () => {
    await app.close()
    await source.close()
    await cloud.close()
    await rm(directory, { recursive: true })
  }
})
afterAll(() => stop())
beforeEach(() => {
  uid = 0
})

const putToken = (seconds: number) =>
  call(socket, { method: 'PUT', path: toy.tokenPath, headers: [toy.ttlHeader, String(seconds)] })
async function read(path: string) {
  const { body: token } = await putToken(60)
  return call(socket, { path, headers: [toy.tokenHeader, token] })
}

test('its tokens are made in its words, for no longer than it makes them itself', async () => {
  const made = await putToken(toy.ttlSecondsMax)
  expect(made).toMatchObject({ status: 200, headers: { 'x-toy-session-seconds': '600' } })
  expect(await putToken(toy.ttlSecondsMax + 1)).toMatchObject({ status: 400 })
  const { status } = await call(socket, {
    method: 'PUT',
    path: DIALECTS.aliyun.tokenPath,
    headers: [DIALECTS.aliyun.ttlHeader, '60'],
  })
  expect(status).not.toBe(200)
})

test('without a token it is refused with its status', async () => {
  expect(await call(socket, { path: ID })).toMatchObject({ status: 401 })
})

test('what names the instance is asked for once', async () => {
  for (const _ of [1, 2]) expect((await read(ID)).body).toBe(cloud.instanceId)
  const asked = cloud.requests.filter(({ method, target }) => method === 'GET' && target === ID)
  expect(asked.length).toBe(1)
})

test('its credentials are known, kept for their life, and given as its SDKs want them', async () => {
  const { status, bytes } = await read(ROLE)
  expect(status).toBe(200)
  const credentials = parseRoleCredentials(bytes, toy, LENIENT)
  expect(Object.keys(revealAs(toy.sdk.environment.names, credentials))).toEqual([
    ...['TOY_ID', 'TOY_HIDDEN', 'TOY_SESSION'],
  ])
  cloud.faults.set({ kind: 'reset' })
  expect(await read(ROLE)).toMatchObject({ status: 200, body: bytes.toString() })
  cloud.faults.clear()
})

test('half of its credentials are not passed on', async () => {
  const whole: Record<string, string> = JSON.parse((await read(ROLE)).body)
  const body = JSON.stringify({ ...whole, Hidden: '' })
  cloud.faults.set({ kind: 'status', code: 200, body, path: `${toy.rolesPath}half` })
  const answered = await read(`${toy.rolesPath}half`)
  expect(answered).toMatchObject({ status: 502, body: expect.stringMatching(/^SOURCE_NONSENSE/) })
  cloud.faults.clear()
})

test('its secret paths are for root alone, the list of its roles is not', async () => {
  uid = USER
  expect(await read(ROLE)).toMatchObject({ status: 403 })
  expect(await read(toy.rolesPath)).toMatchObject({ status: 200, body: 'app' })
})

test('an audience is let through where it takes one', async () => {
  expect((await read('/v9/machine/proof?audience=me')).status).toBe(200)
  expect((await read(`${ID}?audience=me`)).status).toBe(400)
})

test('clients that do not know their cloud yet ask all of ours for a token at one path', () => {
  expect(new Set(Object.values(DIALECTS).map(({ tokenPath }) => tokenPath)).size).toBe(1)
})
