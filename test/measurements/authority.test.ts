import { describe, expect, test } from 'vitest'
import {
  type AllowedAuthority,
  authorityInWords,
  isAllowed,
  namedAuthority,
} from '../../src/measurements/authority.ts'
import { GUID } from '../harness/boot-events.ts'
import { makeAuthority } from '../harness/certificate.ts'
import { digestOf } from '../harness/logs.ts'

/**
 * By what an image was verified, as PCR 7 has it: an EFI_SIGNATURE_DATA (UEFI 2.9, 32.4.1), which is the GUID of its
 * owner and a certificate or the hash of an image.
 */

const sha256 = (bytes: Buffer) => digestOf('sha256', bytes).toString('hex')
const OWNER = Buffer.from(GUID.owner, 'hex')
const owned = (contents: Buffer) => Buffer.concat([OWNER, contents])

const MICROSOFT = makeAuthority('UEFI CA')
const NAMELESS = makeAuthority('')
const IMAGE = Buffer.alloc(32, 0x30)
const authority = (contents: Buffer, database = 'db') =>
  namedAuthority({ event: 1, database, contents })

const OF_CERTIFICATE = authority(owned(MICROSOFT.der))
const OF_IMAGE = authority(owned(IMAGE))
const OF_NAMELESS = authority(owned(NAMELESS.der))

describe('an authority is known', () => {
  test.each<[string, Buffer]>([
    ['behind the GUID of its owner', owned(MICROSOFT.der)],
    ['without one, as shim logs the certificate within itself', MICROSOFT.der],
  ])('by its certificate, %s', (_, contents) => {
    expect(authority(contents, 'Shim')).toEqual({
      database: 'Shim',
      contents: sha256(contents),
      certificate: sha256(MICROSOFT.der),
      commonName: 'UEFI CA',
    })
  })

  test.each<[string, Buffer]>([
    ['the hash of an image', owned(IMAGE)],
    ['a hash without an owner', IMAGE],
    ['a certificate that is cut', owned(MICROSOFT.der.subarray(0, -1))],
    ['a certificate with a byte behind it', owned(Buffer.concat([MICROSOFT.der, Buffer.of(0)]))],
    [
      'a certificate behind another owner of 17 bytes',
      owned(Buffer.concat([Buffer.of(0), MICROSOFT.der])),
    ],
    // SET for SEQUENCE: RFC 5280 knows no such certificate.
    [
      'what has the members of a certificate',
      owned(Buffer.concat([Buffer.of(0x31), MICROSOFT.der.subarray(1)])),
    ],
    ['an owner of nothing', OWNER],
    ['nothing', Buffer.alloc(0)],
  ])('by all of its bytes alone, if it is %s', (_, contents) => {
    expect(authority(contents)).toEqual({
      database: 'db',
      contents: sha256(contents),
      certificate: undefined,
      commonName: undefined,
    })
  })
})

describe('a policy', () => {
  const NO_DIGEST = '00'.repeat(32)
  const BY = {
    certificate: { certificate: sha256(MICROSOFT.der) },
    contents: { contents: sha256(owned(MICROSOFT.der)) },
    image: { contents: sha256(owned(IMAGE)) },
    name: { commonName: 'UEFI CA' },
  } as const
  const ALLOWED: readonly AllowedAuthority[] = Object.values(BY)

  test.each([
    ['its certificate', OF_CERTIFICATE, BY.certificate],
    ['all of its entry', OF_CERTIFICATE, BY.contents],
    ['its name', OF_CERTIFICATE, BY.name],
    ['its entry, which has no certificate', OF_IMAGE, BY.image],
  ])('allows by %s, and need not name it first', (_, found, one) => {
    expect(isAllowed(found, [one])).toBe(true)
    expect(isAllowed(found, [{ contents: NO_DIGEST }, one])).toBe(true)
  })

  test.each<[string, AllowedAuthority[]]>([
    ['nothing', []],
    ['another certificate', [{ certificate: NO_DIGEST }]],
    ['another entry', [{ contents: NO_DIGEST }]],
    ['another name', [{ commonName: 'UEFI CA 2' }]],
    // A digest is looked for where it belongs.
    ['the entry as a certificate', [{ certificate: BY.contents.contents }]],
    ['the certificate as an entry', [{ contents: BY.certificate.certificate }]],
    ['a digest as a name', [{ commonName: BY.certificate.certificate }]],
  ])('that allows %s does not allow it', (_, allowed) => {
    expect(isAllowed(OF_CERTIFICATE, allowed)).toBe(false)
  })

  test('of certificates and names does not allow an image by its hash', () => {
    expect(isAllowed(OF_IMAGE, [BY.certificate, BY.name])).toBe(false)
    expect(isAllowed(OF_NAMELESS, [BY.certificate, BY.name])).toBe(false)
  })

  // As shim names them in PCR 7: README.tpm of shim.
  test.each([
    ['db', true],
    ['MokList', true],
    ['MokListRT', true],
    ['Shim', true],
    ['vendor_db', true],
    ['dbx', false],
    ['MokListX', false],
    ['vendor_dbx', false],
    ['dbt', false],
    ['DB', false],
    ['', false],
  ])('that allows it in %j: %j', (database, is) => {
    expect(isAllowed(authority(owned(MICROSOFT.der), database), ALLOWED)).toBe(is)
  })
})

describe('in words', () => {
  test.each([
    [
      'with its name and certificate',
      OF_CERTIFICATE,
      `"UEFI CA", certificate ${sha256(MICROSOFT.der)}, of "db"`,
    ],
    ['without a name', OF_NAMELESS, `certificate ${sha256(NAMELESS.der)}, of "db"`],
    ['without a certificate', OF_IMAGE, `contents ${sha256(owned(IMAGE))}, of "db"`],
    [
      'of a database whose name would steer a terminal',
      authority(owned(IMAGE), 'db\u001b[2J'),
      `contents ${sha256(owned(IMAGE))}, of "db?[2J"`,
    ],
  ])('%s', (_, found, words) => {
    expect(authorityInWords(found)).toBe(words)
  })
})
