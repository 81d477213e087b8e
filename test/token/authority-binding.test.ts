import { describe, expect, test } from 'vitest'
import type { Caller } from '../../src/caller/caller.ts'
import { parseConfig } from '../../src/config.ts'
import { type Binding, type TokenAuthority, tokenAuthority } from '../../src/token/authority.ts'
import { decodeToken, EPOCH_MS } from '../../src/token/claims.ts'

const KEY = Buffer.alloc(32, 7)
const NOW_MS = 10 * EPOCH_MS
const KEYS = { iidPrefix: '0011223344556677', key: () => KEY, isRevoked: () => false }

const authority = (bind: readonly Binding[]): TokenAuthority =>
  tokenAuthority(
    KEYS,
    () => NOW_MS,
    () => bind,
  )

function caller(uid: number, unit?: string): Caller {
  const place = unit === undefined ? {} : { unit }
  return { pid: 1, uid, gid: uid, groups: [], namespaces: [], ...place }
}

const APP = caller(1001, 'app.service')

/** What redeeming says: `good`, or the code. */
function redeemed(text: string, who: Caller, bind: readonly Binding[] = ['uid']): string {
  try {
    authority(bind).redeem(text, who)
    return 'good'
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : String(error)
  }
}

describe.each<[Binding[], Record<string, string>]>([
  [[], { 'the same': 'good', 'another unit': 'good', 'no unit': 'good', 'another uid': 'good' }],
  [
    ['uid'],
    {
      'the same': 'good',
      'another unit': 'good',
      'no unit': 'good',
      'another uid': 'TOKEN_CALLER',
    },
  ],
  [
    ['uid', 'unit'],
    {
      'the same': 'good',
      'another unit': 'TOKEN_CALLER',
      'no unit': 'TOKEN_CALLER',
      'another uid': 'TOKEN_CALLER',
    },
  ],
])('bound to %j', (bind, expected) => {
  test('is good for', () => {
    const token = authority(bind).issue(60, APP).reveal()
    expect({
      'the same': redeemed(token, APP),
      'another unit': redeemed(token, caller(1001, 'app2.service')),
      'no unit': redeemed(token, caller(1001)),
      'another uid': redeemed(token, caller(1002, 'app.service')),
    }).toEqual(expected)
  })

  test('stays bound as it was made, whatever is configured since', () => {
    const token = authority(bind).issue(60, APP).reveal()
    for (const since of [[], ['uid'], ['uid', 'unit']] as const) {
      expect(redeemed(token, caller(1002, 'app2.service'), since)).toBe(expected['another uid'])
    }
  })

  test('no bit of it can be changed', () => {
    const bytes = Buffer.from(authority(bind).issue(60, APP).reveal(), 'base64url')
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const forged = Buffer.from(bytes)
      forged.writeUInt8(forged.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      expect(redeemed(forged.toString('base64url'), APP)).not.toBe('good')
    }
  })

  test('whoever revokes need not be its holder', () => {
    const token = authority(bind).issue(60, APP).reveal()
    expect(authority(['uid']).verify(token)).toEqual(decodeToken(token).claims)
  })
})

test('a token of another unit is told from a forged one', () => {
  const token = authority(['uid', 'unit']).issue(60, APP).reveal()
  const bytes = Buffer.from(token, 'base64url')
  // The first half of the MAC: without the key, nobody makes it.
  bytes.writeUInt8(bytes.readUInt8(40) ^ 1, 40)
  expect(redeemed(token, caller(1001, 'b.service'))).toBe('TOKEN_CALLER')
  expect(redeemed(bytes.toString('base64url'), caller(1001, 'b.service'))).toBe('TOKEN_FORGED')
})

test('no token is made for a caller in no unit where tokens are bound to units', () => {
  expect(() => authority(['uid', 'unit']).issue(60, caller(1001))).toThrow(
    expect.objectContaining({ code: 'TOKEN_UNIT' }),
  )
})

test.each([
  ['["unit"]', 'token.bind: must have uid beside unit'],
  ['["uid", "uid"]', 'token.bind: must not repeat'],
  ['["gid"]', 'token.bind.0: must be "uid" or "unit".'],
])('token.bind = %s is refused', (bind, why) => {
  expect(() => parseConfig([{ file: 'a.toml', text: `[token]\nbind = ${bind}` }])).toThrow(
    `a.toml:2: ${why}`,
  )
})

test.each([
  ['[]', []],
  ['["uid"]', ['uid']],
  ['["uid", "unit"]', ['uid', 'unit']],
])('token.bind = %s', (bind, parsed) => {
  const { token } = parseConfig([{ file: 'a.toml', text: `[token]\nbind = ${bind}` }])
  expect(token.bind).toEqual(parsed)
})

test('whether new tokens are bound to a unit is what the configuration says now', () => {
  const binds: Binding[] = ['uid']
  const { bindsUnit } = tokenAuthority(
    KEYS,
    () => NOW_MS,
    () => binds,
  )
  expect(bindsUnit()).toBe(false)
  binds.push('unit')
  expect(bindsUnit()).toBe(true)
})
