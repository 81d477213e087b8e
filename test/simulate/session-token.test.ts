import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { issueToken, isValidToken } from '../../src/simulate/session-token.ts'
import { type Simulator, startSimulator } from '../../src/simulate/simulator.ts'
import { get, openSession, putToken, send } from './request.ts'

const TTL = 'X-aliyun-ecs-metadata-token-ttl-seconds'
const TOKEN = 'X-aliyun-ecs-metadata-token'
const ID = '/latest/meta-data/instance-id'

let monotonicMs = 1_000_000
let simulator: Simulator
beforeAll(async () => {
  simulator = await startSimulator({ monotonicNow: () => monotonicMs })
})
afterAll(() => simulator.close())

describe('PUT /latest/api/token', () => {
  test.each(['1', '60', '21600', ' 60\t'])('TTL %j gives a token', async (ttl) => {
    const answered = await putToken(simulator.url, [TTL, ttl])
    expect(answered).toMatchObject({
      status: 200,
      headers: {
        'content-type': 'text/plain',
        'cache-control': 'no-store',
        [TTL.toLowerCase()]: ttl.trim(),
      },
    })
    expect(answered.body).toMatch(/^[A-Za-z0-9_-]{64}$/)
  })

  test.each([
    ...['0', '21601', '21700', '-1', '+60', '060', '00060', '1.5', '1e3', '0x10', '6 0', ''],
    ...['60, 60', '100000', '9'.repeat(31), 'aaa', '\u00b2'],
  ])('TTL %j is refused with 400', async (ttl) => {
    const answered = await putToken(simulator.url, [TTL, ttl])
    expect([answered.status, answered.body]).toEqual([400, 'Missing or Invalid Parameters'])
  })

  test('no TTL is refused with 400', async () => {
    expect((await putToken(simulator.url, [])).status).toBe(400)
  })

  test('two TTL headers are refused with 400', async () => {
    expect((await putToken(simulator.url, [TTL, '60', TTL, '60'])).status).toBe(400)
  })

  test.each([
    ['with a TTL', ['X-Forwarded-For', '192.0.2.9', TTL, '60']],
    ['with no TTL', ['X-Forwarded-For', '192.0.2.9']],
    ['with a bad TTL', ['X-Forwarded-For', '192.0.2.9', TTL, '0']],
    ['empty', ['X-Forwarded-For', '', TTL, '60']],
    ['in another case', ['x-FORWARDED-for', '192.0.2.9', TTL, '60']],
    ['twice', ['X-Forwarded-For', '', 'X-Forwarded-For', '', TTL, '60']],
  ])('X-Forwarded-For %s is refused with 403', async (_, headers) => {
    const answered = await putToken(simulator.url, headers)
    expect([answered.status, answered.body]).toEqual([403, 'Forbidden'])
  })

  test.each(['GET', 'HEAD', 'POST', 'DELETE', 'PATCH', 'OPTIONS'])(
    '%s is refused with 405',
    async (method) => {
      const answered = await send(simulator.url, method, '/latest/api/token', [TTL, '60'])
      expect([answered.status, answered.headers.allow]).toEqual([405, 'PUT'])
    },
  )

  test('is found with a doubled slash and a bare question mark', async () => {
    const answered = await send(simulator.url, 'PUT', '//latest/api//token?', [TTL, '60'])
    expect(answered.status).toBe(200)
  })

  test('is only under latest', async () => {
    const answered = await send(simulator.url, 'PUT', '/2016-01-01/api/token', [TTL, '60'])
    expect([answered.status, answered.headers.allow]).toEqual([405, 'GET, HEAD'])
  })
})

describe('a read', () => {
  test('with a token answers, any number of times', async () => {
    const token = await openSession(simulator.url)
    for (let i = 0; i < 50; i++) {
      const answered = await get(simulator.url, ID, token)
      expect([answered.status, answered.body]).toEqual([200, simulator.instanceId])
    }
  })

  test('header names have no case', async () => {
    const token = await openSession(simulator.url)
    const answered = await send(simulator.url, 'GET', ID, [TOKEN.toUpperCase(), token])
    expect(answered.status).toBe(200)
  })

  test.each([ID, '/', '/nowhere', '/2016-01-01/user-data'])(
    'of %s without a token is refused with 403',
    async (path) => {
      const answered = await get(simulator.url, path)
      expect([answered.status, answered.body]).toEqual([403, 'Forbidden'])
    },
  )

  test.each([
    ['the documented aaa', () => 'aaa'],
    ['an empty token', () => ''],
    ['a shorter one', (token: string) => token.slice(0, -1)],
    ['a longer one', (token: string) => `${token}A`],
    ['padding', (token: string) => `${token}=`],
    ['another alphabet', (token: string) => `+${token.slice(1)}`],
    ['15,000 characters', () => 'A'.repeat(15_000)],
  ])('with %s is refused with 401', async (_, spoil) => {
    const token = await openSession(simulator.url)
    const answered = await get(simulator.url, ID, spoil(token))
    expect([answered.status, answered.body]).toEqual([401, 'Unauthorized'])
  })

  test('with a token changed in any one character is refused with 401', async () => {
    const token = await openSession(simulator.url)
    for (let i = 0; i < token.length; i++) {
      const other = token[i] === 'A' ? 'B' : 'A'
      const answered = await get(simulator.url, ID, token.slice(0, i) + other + token.slice(i + 1))
      expect([i, answered.status]).toEqual([i, 401])
    }
  })

  test('with two token headers is refused with 401', async () => {
    const token = await openSession(simulator.url)
    const answered = await send(simulator.url, 'GET', ID, [TOKEN, token, TOKEN, token])
    expect(answered.status).toBe(401)
  })

  test('of an unknown path with a token is 404', async () => {
    const answered = await get(simulator.url, '/nowhere', await openSession(simulator.url))
    expect([answered.status, answered.body]).toEqual([404, 'Not Found'])
  })

  test.each(['PUT', 'POST', 'DELETE', 'OPTIONS'])('by %s is refused with 405', async (method) => {
    const answered = await send(simulator.url, method, ID)
    expect([answered.status, answered.headers.allow]).toEqual([405, 'GET, HEAD'])
  })

  test('by HEAD has the headers of GET and no body', async () => {
    const token = await openSession(simulator.url)
    const answered = await send(simulator.url, 'HEAD', ID, [TOKEN, token])
    expect(answered).toMatchObject({ status: 200, body: '' })
    expect(answered.headers['content-length']).toBe(String(simulator.instanceId.length))
  })

  test('of an absolute URL is refused with 400', async () => {
    expect((await get(simulator.url, `http://100.100.100.200${ID}`)).status).toBe(400)
  })
})

describe('a token', () => {
  test('ends with its TTL and not before', async () => {
    const token = await openSession(simulator.url, 60)
    monotonicMs += 59_999
    expect((await get(simulator.url, ID, token)).status).toBe(200)
    monotonicMs += 1
    expect((await get(simulator.url, ID, token)).status).toBe(401)
  })

  test('does not look at the wall clock', async () => {
    let wallMs = Date.now()
    await using other = await startSimulator({ now: () => wallMs })
    const token = await openSession(other.url, 60)
    wallMs += 86_400_000
    expect((await get(other.url, ID, token)).status).toBe(200)
  })

  test('ends by the real clock', async () => {
    await using other = await startSimulator()
    const token = await openSession(other.url, 1)
    expect((await get(other.url, ID, token)).status).toBe(200)
    await new Promise((resolve) => setTimeout(resolve, 1_010))
    expect((await get(other.url, ID, token)).status).toBe(401)
  })

  test('of one simulator is refused by another', async () => {
    await using other = await startSimulator()
    const token = await openSession(simulator.url)
    expect((await get(other.url, ID, token)).status).toBe(401)
    expect((await get(simulator.url, ID, token)).status).toBe(200)
  })

  test('is bound to the instance, not only to the key', () => {
    const key = Buffer.alloc(32, 7)
    const token = issueToken(key, 'i-one', 1_000)
    expect(isValidToken(key, 'i-one', token, 999)).toBe(true)
    expect(isValidToken(key, 'i-two', token, 999)).toBe(false)
  })

  test('is one of as many as are asked for', () => {
    const key = Buffer.alloc(32, 7)
    const tokens = Array.from({ length: 10_000 }, () => issueToken(key, 'i-one', 1_000))
    expect(new Set(tokens).size).toBe(10_000)
    expect(tokens.every((token) => isValidToken(key, 'i-one', token, 999))).toBe(true)
  })
})

describe('where tokens are optional', () => {
  let open: Simulator
  beforeAll(async () => {
    open = await startSimulator({ tokens: 'optional' })
  })
  afterAll(() => open.close())

  test('a read without one answers', async () => {
    expect(await get(open.url, ID)).toMatchObject({ status: 200, body: open.instanceId })
  })

  test('a read with a good one answers', async () => {
    expect((await get(open.url, ID, await openSession(open.url))).status).toBe(200)
  })

  test('a read with a bad one is refused with 401', async () => {
    expect((await get(open.url, ID, 'aaa')).status).toBe(401)
  })
})
