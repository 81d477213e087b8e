import { describe, expect, test } from 'vitest'
import { type Certificate, parseCertificate } from '../../src/certificates/certificate.ts'
import {
  basicConstraints,
  directoryNames,
  extKeyUsages,
  hasKeyUsage,
  subjectAttributes,
} from '../../src/certificates/certificate-extensions.ts'
import { withTbsMember } from '../harness/altered-certificate.ts'
import { type Extension, ext, makeAuthority } from '../harness/certificate.ts'
import { der } from '../harness/crl.ts'
import { detailOf } from '../harness/verify-case.ts'

/** What extensions say (RFC 5280 4.2.1), and which are none. */

const certificateWith = (...extensions: readonly Extension[]): Certificate =>
  parseCertificate(makeAuthority('Authority', { extensions }).der)

const COMMON_NAME = '0603550403'

describe('read', () => {
  test('nothing, of an extension that is not there', () => {
    const bare = certificateWith()
    const reads = [basicConstraints, extKeyUsages, directoryNames]
    expect(reads.map((read) => read(bare))).toEqual([undefined, undefined, undefined])
    expect(hasKeyUsage(bare, 0)).toBe(undefined)
  })

  test('a path length of zero, which is another one than none', () => {
    const zero = certificateWith(ext.basicConstraints(true, 0))
    const none = certificateWith(ext.basicConstraints(true))
    expect([zero, none].map(basicConstraints)).toEqual([
      { ca: true, pathLength: 0 },
      { ca: true, pathLength: undefined },
    ])
  })

  test('a bit of the second byte of KeyUsage, and none beyond the last one', () => {
    // decipherOnly is bit 8.
    const usage = certificateWith(ext.raw('2.5.29.15', '0303 07 0080'))
    expect([0, 7, 8, 9, 16].map((bit) => hasKeyUsage(usage, bit))).toEqual([
      ...[false, false, true, false, false],
    ])
  })

  test('of the alternative names those alone that are names of a directory', () => {
    const directory = der(0xa4, der(0x30, der(0x31, der(0x30, COMMON_NAME, '0c0161'))))
    const names = der(0x30, '8203612e62', directory, '8703010203')
    const alternative = certificateWith(ext.raw('2.5.29.17', names.toString('hex')))
    expect(directoryNames(alternative)).toEqual([[['2.5.4.3', 'a']]])
  })
})

describe('refused, and named', () => {
  test.each([
    [
      'basic constraints whose path length is negative',
      basicConstraints,
      '2.5.29.19',
      '30030201ff',
    ],
    [
      'basic constraints whose path length is of nine bytes',
      basicConstraints,
      '2.5.29.19',
      '300b 0209 010000000000000001',
    ],
    [
      'a key usage in an OCTET STRING',
      (it: Certificate) => hasKeyUsage(it, 0),
      '2.5.29.15',
      '04020780',
    ],
    ['purposes that are no OIDs', extKeyUsages, '2.5.29.37', '3003 020101'],
    ['alternative names of a kind that is none', directoryNames, '2.5.29.17', '3003 890101'],
  ])('%s', (_, read, oid, value) => {
    const odd = certificateWith(ext.raw(oid, value))
    expect(detailOf(() => read(odd))).toBe(`VERIFY_CERTIFICATE extension ${oid} is malformed.`)
  })

  test('a subject whose attribute has parts in place of a text', () => {
    const subject = der(0x30, der(0x31, der(0x30, COMMON_NAME, '3003 0c0161')))
    const { der: whole } = makeAuthority('Authority')
    const odd = parseCertificate(withTbsMember(whole, 'subject', subject))
    expect(detailOf(() => subjectAttributes(odd))).toBe('VERIFY_CERTIFICATE subject is malformed.')
  })
})
