import { describe, expect, test } from 'vitest'
import { isSameKey } from '../../src/certificates/spki.ts'
import { newKey, rsaSpki, spkiOf } from '../harness/certificate.ts'
import { der } from '../harness/crl.ts'
import { eccPublicArea, keyedHashPublicArea, rsaPublicArea } from '../harness/public-area.ts'
import { detailOf } from '../harness/verify-case.ts'

/** Whether the SubjectPublicKeyInfo of a certificate (RFC 5280 4.1.2.7) is the key of a TPM. */

const OIDS = {
  rsa: der(0x06, '2a864886f70d010101'),
  rsaOaep: der(0x06, '2a864886f70d010107'),
  rsaPss: der(0x06, '2a864886f70d01010a'),
  ec: der(0x06, '2a8648ce3d0201'),
  ed25519: der(0x06, '2b6570'),
  p256: der(0x06, '2a8648ce3d030107'),
  p384: der(0x06, '2b81040022'),
}
const NULL = der(0x05)
const spki = (algorithm: readonly Buffer[], key: Buffer) =>
  der(0x30, der(0x30, ...algorithm), der(0x03, '00', key))

describe('an RSA key', () => {
  const MODULUS = Buffer.alloc(256, 0xff)
  const MODULUS_DER = der(0x02, '00', MODULUS)
  const EXPONENT_DER = der(0x02, '010001')
  const numbers = der(0x30, MODULUS_DER, EXPONENT_DER)
  const of = (key: Buffer, algorithm = OIDS.rsa) => spki([algorithm, NULL], key)

  test('is the same with its modulus and its exponent, which is 65537 where a TPM says 0', () => {
    expect(of(numbers)).toEqual(rsaSpki(MODULUS, Buffer.of(1, 0, 1)))
    expect(isSameKey(of(numbers), rsaPublicArea(MODULUS))).toBe(true)
    expect(isSameKey(of(numbers), rsaPublicArea(MODULUS, '00010001'))).toBe(true)
    const of3 = of(der(0x30, MODULUS_DER, der(0x02, '03')))
    expect(isSameKey(of3, rsaPublicArea(MODULUS, '00000003'))).toBe(true)
  })

  test('is the same where a maker says RSAES-OAEP of it', () => {
    expect(isSameKey(of(numbers, OIDS.rsaOaep), rsaPublicArea(MODULUS))).toBe(true)
  })

  test.each([
    ['of another exponent', of(der(0x30, MODULUS_DER, der(0x02, '03')))],
    ['of another modulus', of(der(0x30, der(0x02, '00', Buffer.alloc(256, 0xfd)), EXPONENT_DER))],
    ['of a longer modulus', of(der(0x30, der(0x02, '00', MODULUS, 'ff'), EXPONENT_DER))],
    ['for signatures alone (RSASSA-PSS)', of(numbers, OIDS.rsaPss)],
    ['in no sequence', of(der(0x31, MODULUS_DER, EXPONENT_DER))],
    ['whose numbers are one', of(MODULUS_DER)],
    ['without an exponent', of(der(0x30, MODULUS_DER))],
    ['without numbers', of(der(0x30))],
    ['whose modulus is no number', of(der(0x30, der(0x04, '00', MODULUS), EXPONENT_DER))],
    ['whose exponent is no number', of(der(0x30, MODULUS_DER, der(0x04, '010001')))],
    ['of nothing', of(Buffer.alloc(0))],
  ])('is another one %s', (_what, bytes) => {
    expect(isSameKey(bytes, rsaPublicArea(MODULUS))).toBe(false)
  })
})

describe('a key of an elliptic curve', () => {
  const key = newKey()
  const { x: x64 = '', y: y64 = '' } = key.export({ format: 'jwk' })
  const [x, y] = [Buffer.from(x64, 'base64url'), Buffer.from(y64, 'base64url')]
  const POINT = Buffer.concat([Buffer.of(4), x, y])
  const P256_AS_TEXT = der(0x13, Buffer.from('1.2.840.10045.3.1.7'))
  const onP256 = [OIDS.ec, OIDS.p256]

  test('is the same with its curve and its point', () => {
    expect(spki(onP256, POINT)).toEqual(spkiOf(key))
    expect(isSameKey(spki(onP256, POINT), eccPublicArea(x, y))).toBe(true)
  })

  test('is the same though the TPM leaves out leading zero bytes', () => {
    const point = Buffer.concat([Buffer.of(4), Buffer.alloc(31), Buffer.of(7), y])
    expect(isSameKey(spki(onP256, point), eccPublicArea(Buffer.of(7), y))).toBe(true)
  })

  test.each([
    ['of another point', spki(onP256, Buffer.concat([Buffer.of(4), y, x]))],
    ['whose point is compressed', spki(onP256, Buffer.concat([Buffer.of(2), x]))],
    ['with bytes after its point', spki(onP256, Buffer.concat([POINT, Buffer.of(0)]))],
    ['of nothing', spki(onP256, Buffer.alloc(0))],
    ['on another curve', spki([OIDS.ec, OIDS.p384], POINT)],
    ['on no curve', spki([OIDS.ec], POINT)],
    ['whose curve is NULL', spki([OIDS.ec, NULL], POINT)],
    ['whose curve is explicit (RFC 5480 2.1.1)', spki([OIDS.ec, der(0x30, OIDS.p256)], POINT)],
    ['whose curve is the text of an OID', spki([OIDS.ec, P256_AS_TEXT], POINT)],
    ['of another algorithm', spki([OIDS.ed25519, OIDS.p256], POINT)],
  ])('is another one %s', (_what, bytes) => {
    expect(isSameKey(bytes, eccPublicArea(x, y))).toBe(false)
  })

  test('is another one where the TPM has it on another curve, or on one that nobody knows', () => {
    expect(isSameKey(spki(onP256, POINT), eccPublicArea(x, y, '0004'))).toBe(false)
    expect(isSameKey(spki(onP256, POINT), eccPublicArea(x, y, '0020'))).toBe(false)
    expect(isSameKey(spki([OIDS.ec], POINT), eccPublicArea(x, y, '0020'))).toBe(false)
  })

  test('is not the key of a keyed hash, nor of an RSA key', () => {
    expect(isSameKey(spkiOf(key), keyedHashPublicArea())).toBe(false)
    expect(isSameKey(spkiOf(key), rsaPublicArea(Buffer.alloc(256, 0xff)))).toBe(false)
  })
})

test.each([
  ['of no bytes', Buffer.alloc(0)],
  ['that is no sequence', NULL],
  ['without a key', der(0x30, der(0x30, OIDS.rsa, NULL))],
  ['whose key is no BIT STRING', der(0x30, der(0x30, OIDS.rsa, NULL), der(0x04, '00'))],
])('a SubjectPublicKeyInfo %s is refused', (_what, bytes) => {
  expect(detailOf(() => isSameKey(bytes, keyedHashPublicArea()))).toBe(
    'VERIFY_CERTIFICATE Its public key is malformed.',
  )
})
