import { beforeEach, describe, expect, test } from 'vitest'
import type { Caller } from '../../src/caller/caller.ts'
import { type ErrorCode, RateError } from '../../src/errors.ts'
import type { FleetToken } from '../../src/federation/exchange.ts'
import {
  EXCHANGES_MAX,
  EXCHANGES_PER_UID_MAX,
  type FleetTokens,
  fleetTokens,
} from '../../src/federation/fleet-tokens.ts'
import type { Standing } from '../../src/federation/membership.ts'
import { RegistrarDown, RegistrarRefusal } from '../../src/federation/registrar-errors.ts'
import { TOKENS_MAX, TOKENS_PER_UID_MAX } from '../../src/federation/token-cache.ts'
import { Secret } from '../../src/secret.ts'

/** Which token a caller has, of which exchange, on a clock of the test's own. */

const LIFE_MS = 900_000
const ENROLLED = { is: 'enrolled', subject: 'a:i', generation: 1, expiresAtMs: 0 } as const

let nowMs: number
let standing: Standing
let exchanges: PromiseWithResolvers<FleetToken>[]
let refusals: ErrorCode[]
let answers: string[]
let isLimited: boolean
let tokens: FleetTokens

beforeEach(() => {
  nowMs = 0
  standing = ENROLLED
  exchanges = []
  refusals = []
  answers = []
  isLimited = false
  tokens = fleetTokens({
    standing: () => standing,
    nextAttemptSeconds: () => 7,
    exchange: () => {
      const next = Promise.withResolvers<FleetToken>()
      exchanges.push(next)
      return next.promise
    },
    onRefused: (reason) => refusals.push(reason),
    onAnswer: (how) => answers.push(how),
    requireExchange: () => {
      if (isLimited) throw new RateError(3, 'exchange')
    },
    clockMs: () => nowMs,
  })
})

const of = (uid: number, more: Partial<Caller> = {}): Caller => {
  return { pid: 1, uid, gid: uid, groups: [], namespaces: [], ...more }
}
const ask = (caller = of(1), audience = 'a') =>
  tokens.issue({ audience, format: 'id_token', caller })
const text = async (issued: ReturnType<typeof ask>) => (await issued).token.reveal()
const give = (at: number, token: string) =>
  exchanges[at]?.resolve({ token: new Secret(token), lifeMs: LIFE_MS })

async function have(token: string, caller = of(1), audience = 'a'): Promise<void> {
  const issued = ask(caller, audience)
  give(exchanges.length - 1, token)
  expect(await text(issued)).toBe(token)
}
const code = (wanted: string) => expect.objectContaining({ code: wanted })

test('one exchange for all who ask at once, and none for who asks later', async () => {
  const asked = [ask(), ask(), ask()]
  expect(exchanges).toHaveLength(1)
  give(0, 'one')
  expect(await Promise.all(asked.map(text))).toEqual(['one', 'one', 'one'])
  nowMs = LIFE_MS / 2 - 1
  expect(ask()).not.toBeInstanceOf(Promise)
  expect(exchanges).toHaveLength(1)
})

test('nobody has the token of another user, unit, container, audience or namespace', async () => {
  await have('one')
  for (const other of [
    of(2),
    of(1, { unit: 'a.service' }),
    of(1, { container: 'c' }),
    of(1, { namespaces: ['user'] }),
  ]) {
    expect(ask(other)).toBeInstanceOf(Promise)
  }
  expect(ask(of(1), 'b')).toBeInstanceOf(Promise)
  // With another process of its own it shares.
  expect(ask(of(1, { pid: 99 }))).not.toBeInstanceOf(Promise)
})

test('from half of its life on it serves while another is fetched, by one exchange', async () => {
  await have('one')
  nowMs = LIFE_MS / 2
  expect([await text(ask()), await text(ask())]).toEqual(['one', 'one'])
  expect(exchanges).toHaveLength(2)
  give(1, 'two')
  await exchanges[1]?.promise
  expect(await text(ask())).toBe('two')
  expect(answers).toEqual(['exchanged', 'renewing', 'renewing', 'kept'])
})

test('shortly before its end it is not given any more', async () => {
  await have('one')
  nowMs = LIFE_MS - 30_001
  expect(await text(ask())).toBe('one')
  nowMs = LIFE_MS - 30_000
  expect(tokens.count).toBe(1)
  const later = ask()
  give(exchanges.length - 1, 'two')
  expect(await text(later)).toBe('two')
})

describe('while the registrar is away', () => {
  test('what is kept is served, and who has nothing is told at once after the first', async () => {
    await have('one')
    nowMs = LIFE_MS / 2
    void ask()
    exchanges[1]?.reject(new RegistrarDown())
    await expect(exchanges[1]?.promise).rejects.toThrow()
    await Promise.resolve()
    expect(await text(ask())).toBe('one')
    expect(() => ask(of(2))).toThrow(
      expect.objectContaining({ code: 'FEDERATION_DOWN', retryAfterSeconds: 5 }),
    )
    expect(exchanges).toHaveLength(2)
    nowMs += 5000
    expect(ask(of(2))).toBeInstanceOf(Promise)
  })

  test('one whose request is answered with no words of ours keeps nobody else from asking', async () => {
    const asked = ask(of(1), '../../etc/passwd')
    exchanges[0]?.reject(new RegistrarDown('Status 403.', undefined, undefined, true))
    await expect(asked).rejects.toEqual(code('FEDERATION_DOWN'))
    expect(ask(of(2))).toBeInstanceOf(Promise)
  })

  test('it is waited for as long as it says', async () => {
    const asked = ask()
    exchanges[0]?.reject(new RegistrarDown(undefined, 60_000))
    await expect(asked).rejects.toEqual(
      expect.objectContaining({ code: 'FEDERATION_DOWN', retryAfterSeconds: 60 }),
    )
  })
})

describe('an instance that is', () => {
  test.each(['waiting', 'held'] as const)('%s has no new tokens', (is) => {
    standing = { ...ENROLLED, is }
    expect(() => ask()).toThrow(
      expect.objectContaining({ code: 'FEDERATION_NOT_ENROLLED', retryAfterSeconds: 7 }),
    )
  })

  test('refused has none at all, nor one that was under way', async () => {
    await have('one')
    const late = ask(of(2))
    standing = { is: 'refused', reason: 'ENROL_SUSPENDED' }
    tokens.forget()
    give(1, 'late')
    await expect(late).rejects.toEqual(code('FEDERATION_REFUSED'))
    expect(() => ask()).toThrow(code('FEDERATION_REFUSED'))
    expect(tokens.count).toBe(0)
  })
})

test.each<readonly [ErrorCode, ErrorCode]>([
  ['REGISTRAR_AUDIENCE', 'FEDERATION_AUDIENCE'],
  ['ENROL_EXPIRED', 'FEDERATION_NOT_ENROLLED'],
  ['ENROL_SUSPENDED', 'FEDERATION_REFUSED'],
  ['VERIFY_TOKEN_CLAIMS', 'FEDERATION_REFUSED'],
])('%s of the registrar is told as %s', async (reason, told) => {
  const asked = ask()
  exchanges[0]?.reject(new RegistrarRefusal(reason))
  await expect(asked).rejects.toEqual(code(told))
  expect(refusals).toEqual([reason])
})

describe('what users can cause', () => {
  test('one that asks too often is refused, and what it has is not', async () => {
    await have('one')
    isLimited = true
    expect(ask()).not.toBeInstanceOf(Promise)
    expect(() => ask(of(1), 'b')).toThrow(code('LIMIT_RATE'))
    nowMs = LIFE_MS / 2
    expect(ask()).not.toBeInstanceOf(Promise)
  })

  test('so many wait for one user, and so many for all', () => {
    for (let at = 0; at < EXCHANGES_PER_UID_MAX; at += 1) void ask(of(1), `a${at}`)
    expect(() => ask(of(1), 'more')).toThrow(code('LIMIT_SIGNATURES'))
    for (let uid = 2; exchanges.length < EXCHANGES_MAX; uid += 1) void ask(of(uid))
    expect(() => ask(of(99))).toThrow(code('LIMIT_SIGNATURES'))
  })

  test('so many are kept for one user, who makes room within them, and so many for all', async () => {
    await have('other', of(2))
    for (let at = 0; at <= TOKENS_PER_UID_MAX; at += 1) await have(`t${at}`, of(1), `a${at}`)
    expect(tokens.count).toBe(TOKENS_PER_UID_MAX + 1)
    expect(ask(of(1), 'a0')).toBeInstanceOf(Promise)
    give(exchanges.length - 1, 'again')
    for (let uid = 3; uid < TOKENS_MAX - 20; uid += 1) await have('x', of(uid))
    expect(tokens.count).toBe(TOKENS_MAX)
    // Whoever has most makes the room.
    expect(ask(of(2))).not.toBeInstanceOf(Promise)
  })
})
