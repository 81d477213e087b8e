import { describe, expect, test } from 'vitest'
import { type Certificate, parseCertificate } from '../../src/certificates/certificate.ts'
import {
  isSignedBy,
  mayBeSignedBy,
  requireIssuerSignature,
  requireStrongSignature,
} from '../../src/certificates/certificate-signature.ts'
import { withTbsMember } from '../harness/altered-certificate.ts'
import {
  makeAuthority,
  makeEkCertificate,
  newKey,
  rsaSpki,
  spkiOf,
} from '../harness/certificate.ts'
import { der } from '../harness/crl.ts'
import { detailOf, thrownBy } from '../harness/verify-case.ts'

/** Which signatures count, of which keys, and what is remembered of them. */

const root = makeAuthority('Root')
const issuer = parseCertificate(root.der)
const signed = parseCertificate(makeEkCertificate(root, spkiOf(newKey())))

/** As if the certificate said that it is signed in another way. */
const saying = (signatureAlgorithm: string): Certificate => ({ ...signed, signatureAlgorithm })
/** An issuer with any key: its own certificate is not looked at. */
const issuerOf = (spki: Buffer) => parseCertificate(withTbsMember(root.der, 'publicKey', spki))
const rsaIssuer = (bits: number, exponentHex: string) =>
  issuerOf(rsaSpki(Buffer.alloc(bits / 8, 0xff), Buffer.from(exponentHex, 'hex')))

const RSA_SHA256 = '1.2.840.113549.1.1.11'
const RSA_SHA1 = '1.2.840.113549.1.1.5'
const ECDSA_SHA1 = '1.2.840.10045.4.1'

describe('strong', () => {
  test.each([
    ['2048 bits', rsaIssuer(2048, '010001')],
    ['8192 bits, and an exponent of 3', rsaIssuer(8192, '03')],
    ['the largest exponent of 32 bits', rsaIssuer(2048, 'ffffffff')],
  ])('RSA of %s', (_, rsa) => {
    expect(() => requireStrongSignature(saying(RSA_SHA256), rsa)).not.toThrow()
  })

  test.each([
    ['SHA-1', ECDSA_SHA1, issuer, `signature algorithm ${ECDSA_SHA1}`],
    ['RSA by a key of a curve', RSA_SHA256, issuer, 'the issuer has a key of another kind'],
    [
      'RSA of more bits than 8192',
      RSA_SHA256,
      rsaIssuer(8200, '010001'),
      "the issuer's key: RSA of 8200 bits",
    ],
    [
      'an exponent of 33 bits',
      RSA_SHA256,
      rsaIssuer(2048, '0100000001'),
      "the issuer's key: RSA of 2048 bits",
    ],
    [
      'a curve of no TPM',
      signed.signatureAlgorithm,
      issuerOf(spkiOf(newKey('secp256k1'))),
      "the issuer's key: secp256k1",
    ],
  ])('is not: %s', (_, algorithm, by, found) => {
    const refused = detailOf(() => requireStrongSignature(saying(algorithm), by))
    expect(refused).toBe(`VERIFY_CERTIFICATE_ALGORITHM Found: ${found}.`)
  })

  test('is no key that OpenSSL cannot read, and its error is kept', () => {
    // A point that is at no place of the curve.
    const point = der(0x03, '0004', Buffer.alloc(64, 1))
    const spki = der(0x30, '301306072a8648ce3d020106082a8648ce3d030107', point)
    const odd = issuerOf(spki)
    const check = () => requireStrongSignature(signed, odd)
    expect(detailOf(check)).toBe("VERIFY_CERTIFICATE The issuer's public key is unusable.")
    expect(thrownBy(check)).toHaveProperty('cause.message')
  })
})

describe('of the issuer', () => {
  test('if its key made it, and no other of the same name', () => {
    const namesake = parseCertificate(makeAuthority('Root').der)
    expect(isSignedBy(signed, issuer)).toBe(true)
    expect(isSignedBy(signed, namesake)).toBe(false)
    const refused = () => requireIssuerSignature(signed, namesake)
    expect(thrownBy(refused)).toMatchObject({ code: 'VERIFY_CERTIFICATE_SIGNATURE' })
  })

  test('is none whose algorithm is not known, whatever OpenSSL would take for it', () => {
    // Where none is named, it takes SHA-256, which is what this one was made with.
    expect(isSignedBy(saying(ECDSA_SHA1), issuer)).toBe(false)
  })

  test('may be one of an algorithm that nobody knows, so that its refusal can name it', () => {
    const algorithms = [signed.signatureAlgorithm, RSA_SHA256, ECDSA_SHA1, RSA_SHA1]
    const may = algorithms.map((algorithm) => mayBeSignedBy(saying(algorithm), issuer))
    expect(may).toEqual([true, false, true, true])
  })
})

describe('a signature that held', () => {
  /** A certificate that counts how often what was signed is asked for. */
  function counted(): { readonly certificate: Certificate; readonly reads: () => number } {
    let reads = 0
    const certificate = new Proxy(signed, {
      get: (target, member, receiver) => {
        if (member === 'tbs') reads += 1
        return Reflect.get(target, member, receiver)
      },
    })
    return { certificate, reads: () => reads }
  }

  test('is not computed again for the same issuer', () => {
    const { certificate, reads } = counted()
    requireIssuerSignature(certificate, issuer)
    requireIssuerSignature(certificate, issuer)
    expect(reads()).toBe(1)
  })

  test('is computed again for each other issuer, and each time if it did not hold', () => {
    const { certificate, reads } = counted()
    const namesake = parseCertificate(makeAuthority('Root').der)
    requireIssuerSignature(certificate, issuer)
    for (const expected of [2, 3]) {
      expect(() => requireIssuerSignature(certificate, namesake)).toThrow()
      expect(reads()).toBe(expected)
    }
    // The same certificate of the issuer, read anew.
    requireIssuerSignature(certificate, parseCertificate(root.der))
    expect(reads()).toBe(4)
  })
})
