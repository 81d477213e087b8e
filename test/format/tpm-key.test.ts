import { createECDH, generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { jwkOf, keyObjectOf, leftPad, spkiDigest } from '../../src/format/tpm-key.ts'
import type { TpmPublic } from '../../src/format/tpm-public.ts'
import { eccPublicArea, keyedHashPublicArea, rsaPublicArea } from '../harness/public-area.ts'
import { detailOf } from '../harness/verify-case.ts'

/** Public areas of a TPM as keys of others: JSON Web Keys, and keys of OpenSSL. */

const rsaPair = generateKeyPairSync('rsa', { modulusLength: 2048 })
const { n = '', e = '' } = rsaPair.publicKey.export({ format: 'jwk' })
const MODULUS = Buffer.from(n, 'base64url')

const rsa = (modulus = MODULUS, ...rest: string[]) => rsaPublicArea(modulus, ...rest)

/** Why no key of OpenSSL is made of it. */
const found = (key: TpmPublic) => detailOf(() => keyObjectOf(key))

describe('an RSA key', () => {
  test('has the exponent 65537 where the TPM says 0, without zero bytes before it', () => {
    expect(jwkOf(rsa())).toEqual({ kty: 'RSA', n, e: 'AQAB' })
    expect(jwkOf(rsa(MODULUS, '00010001'))).toEqual({ kty: 'RSA', n, e })
    expect(jwkOf(rsa(MODULUS, '00000003'))).toMatchObject({ e: 'Aw' })
    expect(jwkOf(rsa(MODULUS, '81000001'))).toMatchObject({ e: 'gQAAAQ' })
  })

  test('is the key of OpenSSL that it was made from', () => {
    expect(keyObjectOf(rsa()).equals(rsaPair.publicKey)).toBe(true)
    expect(spkiDigest(rsa())).toMatch(/^[0-9a-f]{64}$/)
  })

  const changed = (at: number, byte: number) => {
    const modulus = Buffer.from(MODULUS)
    modulus[at] = byte
    return modulus
  }
  test.each([
    ['shorter than it says', rsa(MODULUS.subarray(1)), 'not of the length that it says'],
    ['longer than it says', rsa(MODULUS, '00000000', '0400'), 'not of the length that it says'],
    ['empty', rsa(Buffer.alloc(0), '00000000', '0000'), 'not of the length that it says'],
    ['without its highest bit', rsa(changed(0, 0x7f)), 'not of the length that it says'],
    ['even', rsa(changed(255, 2)), 'the modulus is even'],
  ])('whose modulus is %s is refused', (_what, key, why) => {
    expect(found(key)).toContain('VERIFY_STRUCTURE')
    expect(found(key)).toContain(why)
  })

  test('whose first byte is 0x80 is whole', () => {
    expect(keyObjectOf(rsa(changed(0, 0x80))).asymmetricKeyType).toBe('rsa')
  })
})

describe('a key of an elliptic curve', () => {
  const ecdh = createECDH('prime256v1')
  const point = ecdh.generateKeys()
  const [x, y] = [point.subarray(1, 33), point.subarray(33)]

  test('has coordinates of the length of its field', () => {
    const jwk = { kty: 'EC', crv: 'P-256', x: x.toString('base64url'), y: y.toString('base64url') }
    expect(jwkOf(eccPublicArea(x, y))).toEqual(jwk)
    const short = jwkOf(eccPublicArea(Buffer.of(1), y))
    expect(short).toMatchObject({
      x: Buffer.concat([Buffer.alloc(31), Buffer.of(1)]).toString('base64url'),
    })
  })

  test('on a curve that nobody knows is refused, by its number', () => {
    expect(found(eccPublicArea(x, y, '0020'))).toMatch(/^VERIFY_STRUCTURE .*curve 0x0020/)
  })

  test('off its curve is refused', () => {
    expect(found(eccPublicArea(x, Buffer.alloc(32, 1)))).toMatch(
      /^VERIFY_STRUCTURE .*not a point of its curve/,
    )
  })

  test('with a coordinate that is too long is refused', () => {
    expect(found(eccPublicArea(Buffer.alloc(33, 1), y))).toContain('33 bytes where 32 fit')
    expect(leftPad(Buffer.alloc(32, 1), 32)).toEqual(Buffer.alloc(32, 1))
  })
})

test('a keyed hash has no public key', () => {
  expect(found(keyedHashPublicArea())).toMatch(/^VERIFY_STRUCTURE .*a keyed hash has no public key/)
})
