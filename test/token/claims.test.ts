import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Claims, decodeToken, encodeClaims, encodeToken } from '../../src/token/claims.ts'

const CLAIMS: Claims = {
  boundTo: { uid: true, unit: false },
  epoch: 0x01020304,
  iidPrefix: '1112131415161718',
  expiresAtMs: 0x2122_2324_2526,
  uid: 0x31323334,
  random: '4142434445464748',
}
// Written down field by field, apart from the code that encodes it.
const COVERED = '01 01 01020304 1112131415161718 212223242526 31323334 4142434445464748'.replaceAll(
  ' ',
  '',
)
const MAC = Buffer.alloc(32, 0xfe)

test('every field has its place', () => {
  expect(encodeClaims(CLAIMS).toString('hex')).toBe(COVERED)
})

test.each([
  [false, false, 0],
  [true, false, 1],
  [false, true, 2],
  [true, true, 3],
])('bound to uid %s, unit %s: flags %i', (uid, unit, flags) => {
  const covered = encodeClaims({ ...CLAIMS, boundTo: { uid, unit } })
  expect(covered.readUInt8(1)).toBe(flags)
  expect(decodeToken(encodeToken(covered, MAC)).claims.boundTo).toEqual({ uid, unit })
})

test('its text is 86 characters of base64url, and says the same', () => {
  const text = encodeToken(encodeClaims(CLAIMS), MAC)
  expect(text).toBe(
    Buffer.concat([Buffer.from(COVERED, 'hex'), MAC])
      .toString('base64')
      .replaceAll('+', '-')
      .replaceAll('/', '_')
      .replace('==', ''),
  )
  expect(text).toHaveLength(86)
  const { claims, covered, mac } = decodeToken(text)
  expect(claims).toEqual(CLAIMS)
  expect(covered.toString('hex')).toBe(COVERED)
  expect(mac).toEqual(MAC)
})

test('any claims come back as they were', () => {
  const hex8 = fc
    .uint8Array({ minLength: 8, maxLength: 8 })
    .map((bytes) => Buffer.from(bytes).toString('hex'))
  const uint32 = fc.integer({ min: 0, max: 0xffff_ffff })
  const claims = fc.record({
    boundTo: fc.record({ uid: fc.boolean(), unit: fc.boolean() }),
    epoch: uint32,
    iidPrefix: hex8,
    expiresAtMs: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
    uid: uint32,
    random: hex8,
  })
  fc.assert(
    fc.property(claims, fc.uint8Array({ minLength: 32, maxLength: 32 }), (any, mac) => {
      const opened = decodeToken(encodeToken(encodeClaims(any), Buffer.from(mac)))
      expect(opened.claims).toEqual(any)
      expect(opened.mac).toEqual(Buffer.from(mac))
    }),
  )
})

test('claims that do not fit are not cut to fit', () => {
  expect(() => encodeClaims({ ...CLAIMS, expiresAtMs: 2 ** 48 })).toThrow(RangeError)
  expect(() => encodeClaims({ ...CLAIMS, epoch: 2 ** 32 })).toThrow(RangeError)
  expect(() => encodeClaims({ ...CLAIMS, uid: -1 })).toThrow(RangeError)
})

describe('a text is taken apart only where it is the one spelling of 64 bytes', () => {
  test('any 64 bytes of version 1 have one', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 64, maxLength: 64 }), (bytes) => {
        bytes[0] = 1
        bytes[1] = (bytes[1] ?? 0) & 3
        const text = Buffer.from(bytes).toString('base64url')
        const { covered, mac } = decodeToken(text)
        expect(Buffer.concat([covered, mac])).toEqual(Buffer.from(bytes))
      }),
    )
  })

  test('any other text is refused', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 120 }), (text) => {
        expect(() => decodeToken(text)).toThrow(
          expect.objectContaining({ code: 'TOKEN_MALFORMED' }),
        )
      }),
    )
  })
})
