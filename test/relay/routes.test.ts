import { afterAll, beforeAll, expect, test } from 'vitest'
import type { JudgedRequest } from '../../src/relay/judged-request.ts'
import { type Respond, responder, router, routes } from '../../src/relay/routes.ts'
import { DIALECT as dialect, type RelayParts, relayParts } from '../harness/relay-parts.ts'

/** The routes by themselves: a judged request in, its answer out, with no server between. */

const caller = { pid: 1, uid: 61_008, gid: 61_008, groups: [], namespaces: [] }

let parts: RelayParts
let respond: Respond

beforeAll(async () => {
  parts = await relayParts()
  respond = responder(router(routes(parts.deps)), parts.deps)
})
afterAll(() => parts.stop())

function asked(method: string, path: string, headers: Partial<JudgedRequest['headers']> = {}) {
  return {
    ...{ id: 'x-1', method, caller, wantsFresh: false, target: { path, query: undefined } },
    headers: { token: undefined, ttl: undefined, ...headers },
    asked: undefined,
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
    body: Buffer.from(parts.cloud.instanceId),
  })
})

test('every route refuses another method before it asks for a token, and names its own', () => {
  for (const { path, methods } of routes(parts.deps)) {
    expect(() => respond(asked('PATCH', path))).toThrow(
      expect.objectContaining({
        code: 'REQUEST_METHOD',
        headers: { allow: methods.join(', ') },
      }),
    )
  }
})

test('every route but that of tokens asks for a token before anything else', () => {
  const others = routes(parts.deps).filter((row) => row.path !== dialect.tokenPath)
  for (const { path, methods } of others) {
    expect(() => respond(asked(methods[0] ?? '', path))).toThrow(
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
  expect(router(routes(parts.deps))(path).kind).toBe(kind)
})

test('an own path that is nothing is absent, with the token of its caller', async () => {
  const nowhere = asked('GET', '/metabind/v1/nothing', { token: await token() })
  expect(() => respond(nowhere)).toThrow(expect.objectContaining({ code: 'METADATA_ABSENT' }))
})

test('what is answered is counted by its route', async () => {
  const before = parts.deps.counters.requests.get('own')?.get('OK') ?? 0
  const whoami = respond(asked('GET', '/metabind/v1/whoami', { token: await token() }))
  expect(JSON.parse(String((await whoami).body))).toMatchObject({ uid: caller.uid })
  expect(parts.deps.counters.requests.get('own')?.get('OK')).toBe(before + 1)
})
