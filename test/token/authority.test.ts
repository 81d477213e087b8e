import { createHmac } from 'node:crypto'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ERRORS } from '../../src/error-table.ts'
import { type ErrorCode, MetabindError } from '../../src/errors.ts'
import { type TokenKeys, tokenAuthority } from '../../src/token/authority.ts'
import {
  CLAIMS_BYTES,
  EPOCH_MS,
  encodeClaims,
  encodeToken,
  TOKEN_CHARACTERS,
} from '../../src/token/claims.ts'

const IID_PREFIX = '00112233445566aa'
const CALLER = { pid: 4711, uid: 1000, gid: 1000, groups: [1000], namespaces: [] }
const HOUR_S = 3600

/** A clock that stands until it is moved, and a key for each hour that has one. */
function bench(startSeconds = 10 * HOUR_S, iidPrefix = IID_PREFIX) {
  const clock = { ms: startSeconds * 1000 }
  const revoked = new Set<string>()
  const keys: TokenKeys = {
    iidPrefix,
    key: (epoch) => {
      const current = Math.floor(clock.ms / EPOCH_MS)
      return epoch >= current - 6 && epoch <= current + 1 ? keyOf(epoch) : undefined
    },
    isRevoked: (random) => revoked.has(random),
  }
  const tokens = tokenAuthority(
    keys,
    () => clock.ms,
    () => ['uid'],
  )
  return { clock, revoked, keys, tokens }
}

function keyOf(epoch: number): Buffer {
  return Buffer.alloc(32, `key of epoch ${epoch}`)
}

function codeOf(redeem: () => unknown): ErrorCode | 'accepted' {
  try {
    redeem()
    return 'accepted'
  } catch (error) {
    if (error instanceof MetabindError) return error.code
    throw error
  }
}

/** A token whose MAC is right, with claims of our choosing. */
function signed(claims: Partial<Parameters<typeof encodeClaims>[0]> = {}): string {
  const covered = encodeClaims({
    boundTo: { uid: true, unit: false },
    epoch: 10,
    iidPrefix: IID_PREFIX,
    expiresAtMs: 11 * HOUR_S * 1000,
    uid: CALLER.uid,
    random: 'a1b2c3d4e5f60718',
    ...claims,
  })
  return encodeToken(
    covered,
    createHmac('sha256', keyOf(claims.epoch ?? 10))
      .update(covered)
      .digest(),
  )
}

/** `text` with its bytes changed by `change`. */
function withBytes(text: string, change: (bytes: Buffer) => void): string {
  const bytes = Buffer.from(text, 'base64url')
  change(bytes)
  return bytes.toString('base64url')
}

/** The field that a byte belongs to, and the refusal that a change of it is answered with. */
function refusalOfByte(at: number): readonly ErrorCode[] {
  if (at < 2) return at === 0 ? ['TOKEN_VERSION'] : ['TOKEN_VERSION', 'TOKEN_FORGED']
  if (at < 6) return ['TOKEN_EPOCH', 'TOKEN_EXPIRED', 'TOKEN_FORGED']
  return at < 14 ? ['TOKEN_FOREIGN'] : ['TOKEN_FORGED']
}

describe('a token that was altered is refused', () => {
  const { tokens } = bench()
  const good = tokens.issue(HOUR_S, CALLER).reveal()
  const refusal = (text: string) => codeOf(() => tokens.redeem(text, CALLER))

  test('unaltered it is accepted', () => {
    expect(good).toHaveLength(TOKEN_CHARACTERS)
    expect(refusal(good)).toBe('accepted')
  })

  test.each(Array.from({ length: 64 }, (_, at) => at))('byte %i, to each other value', (at) => {
    for (let change = 1; change < 256; change += 1) {
      const altered = withBytes(good, (bytes) => {
        bytes[at] = (bytes[at] ?? 0) ^ change
      })
      expect(refusalOfByte(at), `byte ${at} ^ ${change}`).toContain(refusal(altered))
    }
  })

  test('each character, to each other one', () => {
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    for (let at = 0; at < good.length; at += 1) {
      for (const other of alphabet) {
        if (other === good[at]) continue
        const altered = `${good.slice(0, at)}${other}${good.slice(at + 1)}`
        expect(refusal(altered)).not.toBe('accepted')
      }
    }
  })

  test.each(Array.from({ length: 86 }, (_, length) => length))('cut to %i characters', (length) => {
    expect(refusal(good.slice(0, length))).toBe('TOKEN_MALFORMED')
    expect(refusal(good.slice(good.length - length))).toBe('TOKEN_MALFORMED')
  })

  test.each([
    ...['A', '=', '==', '\n', '\r\n', ' ', '\0', '.', 'AA', 'AAAA', good],
    ...['\u0000'.repeat(4096), 'A'.repeat(1_000_000)],
  ])('extended', (extra) => {
    expect(refusal(good + extra)).toBe('TOKEN_MALFORMED')
    expect(refusal(extra + good)).toBe('TOKEN_MALFORMED')
  })

  test.each([
    ['standard base64', (text: string) => withPlus(text)],
    ['padding in place of the last characters', (text: string) => `${text.slice(0, 84)}==`],
    ['a line break within', (text: string) => `${text.slice(0, 40)}\n${text.slice(41)}`],
    ['a space within', (text: string) => `${text.slice(0, 40)} ${text.slice(41)}`],
    ['a NUL within', (text: string) => `${text.slice(0, 40)}\0${text.slice(41)}`],
    ['a letter of another script', (text: string) => `${text.slice(0, 40)}\u0430${text.slice(41)}`],
    ['a full-width letter', (text: string) => `${text.slice(0, 40)}\uff21${text.slice(41)}`],
    ['half of a surrogate pair', (text: string) => `${text.slice(0, 40)}\ud800${text.slice(41)}`],
    ['hexadecimal', (text: string) => Buffer.from(text, 'base64url').toString('hex')],
    ['the length of its bytes', (text: string) => `${text.slice(0, 84)}é`],
    ['reversed, with a dot', (text: string) => `.${text.slice(1)}`],
  ])('in another spelling: %s', (_name, spell) => {
    expect(refusal(spell(good))).toBe('TOKEN_MALFORMED')
  })

  test('its last character has one spelling out of sixteen', () => {
    const bytes = Buffer.from(good, 'base64url')
    const same = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_']
      .map((last) => good.slice(0, 85) + last)
      .filter((text) => Buffer.from(text, 'base64url').equals(bytes))
    // All sixteen decode to the same bytes; Node is as lenient as that.
    expect(same).toHaveLength(16)
    for (const text of same) {
      expect(refusal(text)).toBe(text === good ? 'accepted' : 'TOKEN_MALFORMED')
    }
  })

  test.each([2, 3, 255, 0])('version %i', (version) => {
    const text = withBytes(good, (bytes) => bytes.writeUInt8(version, 0))
    expect(refusal(text)).toBe('TOKEN_VERSION')
  })

  test.each([0x04, 0x80, 0xff, 0x05])('flags 0x%s of a later version', (flags) => {
    const covered = Buffer.from(signed(), 'base64url').subarray(0, CLAIMS_BYTES)
    covered.writeUInt8(flags, 1)
    const text = encodeToken(covered, createHmac('sha256', keyOf(10)).update(covered).digest())
    expect(refusal(text)).toBe('TOKEN_VERSION')
  })

  test('signed with the key of another hour', () => {
    const covered = Buffer.from(signed(), 'base64url').subarray(0, CLAIMS_BYTES)
    for (const epoch of [4, 9, 11]) {
      const text = encodeToken(covered, createHmac('sha256', keyOf(epoch)).update(covered).digest())
      expect(refusal(text)).toBe('TOKEN_FORGED')
    }
    expect(refusal(signed())).toBe('accepted')
  })
})

describe('the checks come in one order', () => {
  const REVOKED = 'ffffffffffffffff'

  /** A token that is right in what the first `steps` checks look at, and wrong in all the others. */
  function rightInTheFirst(steps: number): string {
    const text = signed({
      iidPrefix: steps > 2 ? IID_PREFIX : 'ffffffffffffffff',
      epoch: steps > 3 ? 10 : 4_000_000,
      expiresAtMs: steps > 5 ? 11 * HOUR_S * 1000 : 1,
      random: steps > 6 ? '0000000000000000' : REVOKED,
      uid: steps > 7 ? CALLER.uid : 7,
    })
    const altered = withBytes(text, (bytes) => {
      if (steps <= 1) bytes.writeUInt8(9, 0)
      if (steps <= 4) bytes.writeUInt8((bytes[40] ?? 0) ^ 1, 40)
    })
    return steps === 0 ? `${altered}A` : altered
  }

  const ORDER = [
    ...['TOKEN_MALFORMED', 'TOKEN_VERSION', 'TOKEN_FOREIGN', 'TOKEN_EPOCH', 'TOKEN_FORGED'],
    ...['TOKEN_EXPIRED', 'TOKEN_REVOKED', 'TOKEN_CALLER', 'accepted'],
  ]
  test.each(ORDER.map((code, steps) => [code, steps] as const))('%s', (code, steps) => {
    const { tokens, revoked } = bench()
    revoked.add(REVOKED)
    expect(codeOf(() => tokens.redeem(rightInTheFirst(steps), CALLER))).toBe(code)
  })
})

describe('expiry', () => {
  const TTL_S = 90

  test.each([
    [-1000, 'accepted'],
    [-1, 'accepted'],
    [0, 'TOKEN_EXPIRED'],
    [1, 'TOKEN_EXPIRED'],
    [1000, 'TOKEN_EXPIRED'],
  ])('%i ms from its end: %s', (offsetMs, expected) => {
    const { tokens, clock } = bench()
    const text = tokens.issue(TTL_S, CALLER).reveal()
    clock.ms += TTL_S * 1000 + offsetMs
    expect(codeOf(() => tokens.redeem(text, CALLER))).toBe(expected)
  })

  test('a fraction of a millisecond of the clock neither lengthens nor breaks it', () => {
    const { tokens, clock } = bench()
    clock.ms += 0.9
    const text = tokens.issue(1, CALLER).reveal()
    clock.ms += 999
    expect(codeOf(() => tokens.redeem(text, CALLER))).toBe('accepted')
    clock.ms += 0.2
    expect(codeOf(() => tokens.redeem(text, CALLER))).toBe('TOKEN_EXPIRED')
  })

  test('the longest token of an hour lives to its end through seven hours of keys', () => {
    const { tokens, clock } = bench(11 * HOUR_S - 1)
    const text = tokens.issue(21_600, CALLER).reveal()
    for (let hour = 0; hour <= 6; hour += 1) {
      expect(codeOf(() => tokens.redeem(text, CALLER))).toBe(
        hour < 6 ? 'accepted' : 'TOKEN_EXPIRED',
      )
      clock.ms += EPOCH_MS
    }
    clock.ms = 17 * EPOCH_MS - 1001
    expect(codeOf(() => tokens.redeem(text, CALLER))).toBe('accepted')
    clock.ms += 1
    expect(codeOf(() => tokens.redeem(text, CALLER))).toBe('TOKEN_EXPIRED')
  })

  test('when its key is gone too it is still called expired', () => {
    const { tokens, clock } = bench()
    const text = tokens.issue(21_600, CALLER).reveal()
    clock.ms += 7 * EPOCH_MS
    expect(codeOf(() => tokens.redeem(text, CALLER))).toBe('TOKEN_EXPIRED')
    clock.ms += 1000 * EPOCH_MS
    expect(codeOf(() => tokens.redeem(text, CALLER))).toBe('TOKEN_EXPIRED')
  })

  test('a token of an hour to come is of another boot', () => {
    const { tokens } = bench()
    expect(codeOf(() => tokens.redeem(signed({ epoch: 12 }), CALLER))).toBe('TOKEN_EPOCH')
  })

  test('the wall clock has no say', () => {
    const { tokens } = bench()
    const text = tokens.issue(TTL_S, CALLER).reveal()
    const { now } = Date
    try {
      for (const wallMs of [0, 4_102_444_800_000]) {
        Date.now = () => wallMs
        expect(codeOf(() => tokens.redeem(text, CALLER))).toBe('accepted')
      }
    } finally {
      Date.now = now
    }
  })
})

describe('without the key of the hour', () => {
  const without = (epochs: readonly number[]) => {
    const { keys, clock } = bench()
    const some: TokenKeys = {
      ...keys,
      key: (epoch) => (epochs.includes(epoch) ? undefined : keys.key(epoch)),
    }
    return tokenAuthority(
      some,
      () => clock.ms,
      () => [],
    )
  }

  test('none is issued', () => {
    expect(codeOf(() => without([10]).issue(60, CALLER))).toBe('AGENT_NOT_READY')
    expect(codeOf(() => without([9, 11]).issue(60, CALLER))).toBe('accepted')
  })

  test('a living one is neither accepted nor called wrong', () => {
    expect(codeOf(() => without([10]).redeem(signed(), CALLER))).toBe('AGENT_NOT_READY')
    expect(codeOf(() => without([4]).redeem(signed({ epoch: 4 }), CALLER))).toBe('AGENT_NOT_READY')
  })
})

describe('the caller', () => {
  test('another uid is refused, another process of the uid is not', () => {
    const { tokens } = bench()
    const text = tokens.issue(60, CALLER).reveal()
    expect(codeOf(() => tokens.redeem(text, { ...CALLER, pid: 1, gid: 5 }))).toBe('accepted')
    for (const uid of [0, 999, 1001, 0xffff_ffff]) {
      expect(codeOf(() => tokens.redeem(text, { ...CALLER, uid }))).toBe('TOKEN_CALLER')
    }
  })

  test('what is not bound to a uid is for everybody', () => {
    const { keys, clock } = bench()
    const tokens = tokenAuthority(
      keys,
      () => clock.ms,
      () => [],
    )
    const text = tokens.issue(60, CALLER).reveal()
    expect(codeOf(() => tokens.redeem(text, { ...CALLER, uid: 0 }))).toBe('accepted')
  })

  test('its binding cannot be taken off', () => {
    const { tokens } = bench()
    const text = withBytes(tokens.issue(60, CALLER).reveal(), (bytes) => bytes.writeUInt8(0, 1))
    expect(codeOf(() => tokens.redeem(text, { ...CALLER, uid: 1 }))).toBe('TOKEN_FORGED')
  })

  test('verify asks everything but the caller', () => {
    const { tokens, clock, revoked } = bench()
    const text = tokens.issue(60, CALLER).reveal()
    const claims = tokens.verify(text)
    expect(claims).toEqual({
      boundTo: { uid: true, unit: false },
      epoch: 10,
      iidPrefix: IID_PREFIX,
      expiresAtMs: clock.ms + 60_000,
      uid: 1000,
      random: Buffer.from(text, 'base64url').toString('hex', 24, 32),
    })
    revoked.add(claims.random)
    expect(codeOf(() => tokens.verify(text))).toBe('TOKEN_REVOKED')
  })
})

describe('of any token', () => {
  const anyCaller = fc.record({
    pid: fc.nat(),
    uid: fc.integer({ min: 0, max: 0xffff_ffff }),
    gid: fc.nat(),
    groups: fc.constant([]),
    namespaces: fc.constant([]),
  })
  const anyTtl = fc.integer({ min: 1, max: 21_600 })
  const anyStart = fc.integer({ min: 0, max: 10 * 365 * 24 * HOUR_S })

  test('whoever asked can redeem it until it ends, and not after', () => {
    fc.assert(
      fc.property(
        anyCaller,
        anyTtl,
        anyStart,
        fc.double({ min: 0, max: 1, noNaN: true }),
        (caller, ttl, start, part) => {
          const { tokens, clock } = bench(start)
          const text = tokens.issue(ttl, caller).reveal()
          clock.ms += Math.floor(part * (ttl * 1000 - 1))
          expect(tokens.redeem(text, caller).uid).toBe(caller.uid)
          clock.ms = (start + ttl) * 1000
          expect(codeOf(() => tokens.redeem(text, caller))).toBe('TOKEN_EXPIRED')
        },
      ),
    )
  })

  test('any one bit flipped is refused', () => {
    fc.assert(
      fc.property(anyCaller, anyTtl, fc.integer({ min: 0, max: 511 }), (caller, ttl, bit) => {
        const { tokens } = bench()
        const text = withBytes(tokens.issue(ttl, caller).reveal(), (bytes) => {
          bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        })
        expect(refusalOfByte(bit >> 3)).toContain(codeOf(() => tokens.redeem(text, caller)))
      }),
    )
  })

  test('any text is refused with a code of the table, in time', () => {
    const { tokens } = bench()
    const alphabet = fc.constantFrom(...'ABCDabcd0123-_')
    const text = fc.oneof(
      fc.string({ maxLength: 200, unit: 'binary' }),
      fc.string({ unit: alphabet, minLength: 86, maxLength: 86 }),
      fc.uint8Array({ minLength: 64, maxLength: 64 }).map((bytes) => {
        bytes[0] = 1
        bytes[1] = 0
        return Buffer.from(bytes).toString('base64url')
      }),
    )
    fc.assert(
      fc.property(text, (any) => {
        const code = codeOf(() => tokens.redeem(any, CALLER))
        expect(code).toMatch(/^TOKEN_/)
        expect(Object.keys(ERRORS)).toContain(code)
      }),
      { numRuns: 500 },
    )
  })

  test('no two are equal', () => {
    const { tokens } = bench()
    const made = Array.from({ length: 20_000 }, () => tokens.issue(60, CALLER).reveal())
    expect(new Set(made).size).toBe(made.length)
  })

  test('it cannot be printed by accident', () => {
    const { tokens } = bench()
    const token = tokens.issue(60, CALLER)
    for (const printed of [String(token), JSON.stringify({ token }), inspect({ token })]) {
      expect(printed).toContain('[secret]')
      expect(printed).not.toContain(token.reveal().slice(0, 20))
    }
  })
})

function withPlus(text: string): string {
  const standard = text.replaceAll('-', '+').replaceAll('_', '/')
  return standard === text ? `+${text.slice(1)}` : standard
}
