import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { httpBounds, limitBounds, sourceBounds } from '../../src/agent/settings.ts'
import { parseConfig } from '../../src/config.ts'
import { DIALECTS } from '../../src/dialect/dialects.ts'
import { lifetimesBy } from '../../src/metadata/lifetimes.ts'
import { metadataFrom } from '../../src/metadata/metadata.ts'
import { openSource } from '../../src/metadata/source.ts'
import { policyInForce } from '../../src/policy/current.ts'
import { readers } from '../../src/policy/readers.ts'
import { newCounters } from '../../src/relay/counters.ts'
import type { JudgedRequest } from '../../src/relay/judged-request.ts'
import { limits } from '../../src/relay/limits.ts'
import type { RelayDeps } from '../../src/relay/relay-deps.ts'
import { type Respond, responder, router, routes } from '../../src/relay/routes.ts'
import { type Simulator, startSimulator } from '../../src/simulate/simulator.ts'
import { tokenAuthority } from '../../src/token/authority.ts'

/** The routes by themselves: a judged request in, its answer out, with no server between. */

const dialect = DIALECTS.aliyun
const clockMs = () => performance.now()
const nothing = () => undefined
const caller = { pid: 1, uid: 61_008, gid: 61_008, groups: [], namespaces: [] }

let cloud: Simulator
let deps: RelayDeps
let respond: Respond
let stop: () => Promise<void>

beforeAll(async () => {
  const directory = await mkdtemp('/tmp/routes-')
  await writeFile(join(directory, 'policy.toml'), '', { mode: 0o600 })
  cloud = await startSimulator({ role: 'app' })
  const config = parseConfig([])
  const source = openSource(dialect, cloud.url, sourceBounds(config), clockMs)
  const policy = policyInForce(dialect.secretPaths, nothing)
  await policy.take(join(directory, 'policy.toml'))
  const keys = { iidPrefix: '00'.repeat(8), key: () => Buffer.alloc(32), isRevoked: () => false }
  const refuse = () => {
    throw new Error('not asked for here')
  }
  deps = {
    dialect,
    tokens: tokenAuthority(keys, clockMs, () => ['uid']),
    metadata: metadataFrom({
      source,
      dialect,
      lifetimeOf: lifetimesBy(dialect.lifetimes),
      bounds: { entriesMax: 100, bytesMax: 1_000_000 },
      clocks: { bootTimeMs: clockMs, wallTimeMs: Date.now, random: () => 0 },
      answerWithinMs: config.source.timeout_ms,
      ...{ onSource: nothing, onRefreshFailed: nothing, onUnusable: nothing },
      ...{ onRole: nothing, onCached: nothing },
    }),
    identityTokens: { issue: refuse },
    audit: nothing,
    bounds: httpBounds(config),
    limits: limits(limitBounds(config), clockMs, nothing),
    counters: newCounters(),
    ttlSecondsMax: () => dialect.ttlSecondsMax,
    policy: () => policy.current().policy,
    readers: readers(() => 0),
    requireRunning: nothing,
    logFault: refuse,
    inspect: refuse,
  }
  respond = responder(router(routes(deps)), deps)
  stop = async () => {
    await source.close()
    await cloud.close()
    await rm(directory, { recursive: true })
  }
})
afterAll(() => stop())

function asked(method: string, path: string, headers: Partial<JudgedRequest['headers']> = {}) {
  return {
    ...{ id: 'x-1', method, caller, wantsFresh: false, target: { path, query: undefined } },
    headers: { token: undefined, ttl: undefined, ...headers },
  }
}

const token = async () =>
  String((await respond(asked('PUT', dialect.tokenPath, { ttl: '60' }))).body)

test('a session token is an answer without a promise', () => {
  const answer = respond(asked('PUT', dialect.tokenPath, { ttl: '60' }))
  expect(answer).toEqual({
    status: 200,
    headers: {
      'content-type': 'text/plain',
      [dialect.ttlHeader.toLowerCase()]: '60',
      'cache-control': 'no-store',
    },
    body: expect.stringMatching(/^[\w-]{86}$/),
  })
})

test('what is cached is an answer without a promise, and what is not is one with it', async () => {
  const read = asked('GET', dialect.instanceIdPath, { token: await token() })
  const first = respond(read)
  expect(first).toBeInstanceOf(Promise)
  expect(await first).toMatchObject({ status: 200, headers: { 'x-metabind-cache': 'miss' } })
  expect(respond(read)).toMatchObject({
    status: 200,
    headers: { age: '0', 'x-metabind-cache': 'hit' },
    body: Buffer.from(cloud.instanceId),
  })
})

test('every route refuses another method before it asks for a token, and names its own', () => {
  for (const { path, methods } of routes(deps)) {
    expect(() => respond(asked('PATCH', path))).toThrow(
      expect.objectContaining({
        code: 'REQUEST_METHOD',
        headers: { allow: methods.join(', ') },
      }),
    )
  }
})

test('every route but that of tokens asks for a token before anything else', () => {
  for (const { path } of routes(deps).filter((row) => row.path !== dialect.tokenPath)) {
    expect(() => respond(asked('GET', path))).toThrow(
      expect.objectContaining({ code: 'TOKEN_MISSING' }),
    )
  }
})

test.each([
  [dialect.tokenPath, 'token'],
  [`${dialect.tokenPath}/`, 'metadata'],
  ['/', 'metadata'],
  ['/latest/meta-data/instance-id', 'metadata'],
  ['/metabind', 'metadata'],
  ['/metabind/', 'own'],
  ['/metabind/v1/whoami', 'own'],
  ['/metabind/v1/nothing', 'own'],
  ['/metabind/v1/explain/latest/meta-data', 'own'],
])('%s is counted as %s', (path, kind) => {
  expect(router(routes(deps))(path).kind).toBe(kind)
})

test('an own path that is nothing is absent, with the token of its caller', async () => {
  const nowhere = asked('GET', '/metabind/v1/nothing', { token: await token() })
  expect(() => respond(nowhere)).toThrow(expect.objectContaining({ code: 'METADATA_ABSENT' }))
})

test('what is answered is counted by its route', async () => {
  const before = deps.counters.requests.get('own')?.get('OK') ?? 0
  const whoami = respond(asked('GET', '/metabind/v1/whoami', { token: await token() }))
  expect(JSON.parse(String((await whoami).body))).toMatchObject({ uid: caller.uid })
  expect(deps.counters.requests.get('own')?.get('OK')).toBe(before + 1)
})
