import { describe, expect, test } from 'vitest'
import { type Certificate, parseCertificate } from '../../src/certificates/certificate.ts'
import {
  commonName,
  requireAkProfile,
  requireEkProfile,
  requireSameKey,
  tpmAttributes,
} from '../../src/certificates/key-certificate.ts'
import {
  AK_EXTENSIONS,
  type CertificateFields,
  EK_EXTENSIONS,
  type Extension,
  ext,
  makeAuthority,
  makeEkCertificate,
  newKey,
  spkiOf,
} from '../harness/certificate.ts'
import { rdn, rdnSequence } from '../harness/names.ts'
import { eccPublicArea, keyedHashPublicArea, rsaPublicArea } from '../harness/public-area.ts'
import { detailOf } from '../harness/verify-case.ts'

/** What the certificate of a TPM's key has to say (TCG EK Credential Profile 2.5, 3.2). */

const ROOT = makeAuthority('Root')
const KEY = spkiOf(newKey())
const ECC = eccPublicArea(Buffer.alloc(32, 1), Buffer.alloc(32, 2))
const RSA = rsaPublicArea(Buffer.alloc(256, 0xff))
const TPM_OIDS = ['2.23.133.2.1', '2.23.133.2.2', '2.23.133.2.3'] as const
const [MANUFACTURER, MODEL, VERSION] = TPM_OIDS

const certificateOf = (fields: Partial<CertificateFields>): Certificate =>
  parseCertificate(makeEkCertificate(ROOT, KEY, fields))
/** Those of an EK certificate with others in their place, and without some. */
const changed = (
  others: readonly Extension[],
  without: readonly string[] = [],
  of = EK_EXTENSIONS,
) => [
  ...of.filter(({ oid }) => ![...without, ...others.map((it) => it.oid)].includes(oid)),
  ...others,
]
const ekWith = (...changes: Parameters<typeof changed>) =>
  certificateOf({ extensions: changed(...changes) })
const SAN = '2.5.29.17'
const refused = (certificate: Certificate, ek = ECC) =>
  detailOf(() => requireEkProfile(certificate, ek))
const found = (what: string) => `VERIFY_CERTIFICATE_PROFILE Found: ${what}.`

describe('an EK certificate is accepted', () => {
  test.each([
    ['as the profile has it', {}, ECC],
    ['of an RSA key, with keyEncipherment', { extensions: changed([ext.keyUsage(2)]) }, RSA],
    [
      "of a P-256 key with keyEncipherment, as Intel's",
      { extensions: changed([ext.keyUsage(2)]) },
      ECC,
    ],
    ['without extKeyUsage, as old ones are', { extensions: changed([], ['2.5.29.37']) }, ECC],
    [
      'for other purposes besides',
      { extensions: changed([ext.extKeyUsage('1.3.6.1.5.5.7.3.1', '2.23.133.8.1')]) },
      ECC,
    ],
    ['without basicConstraints', { extensions: changed([], ['2.5.29.19']) }, ECC],
    [
      'with a subject, where no TPM is named',
      { subject: 'TPM', extensions: changed([], [SAN]) },
      ECC,
    ],
    [
      'with a subject and a TPM that is not critical',
      { subject: 'TPM', extensions: changed([ext.tpmName(TPM_OIDS, false)]) },
      ECC,
    ],
  ])('%s', (_what, fields, ek) => {
    expect(requireEkProfile(certificateOf(fields), ek)).toBeUndefined()
  })
})

describe('an EK certificate is refused', () => {
  test.each([
    ['of version 1', certificateOf({ version: 1 }), 'version 1'],
    ['of an authority', ekWith([ext.basicConstraints(true)]), 'it is an authority'],
    ['that names no key of its issuer', ekWith([], ['2.5.29.35']), 'no authorityKeyIdentifier'],
    ['that signs', ekWith([ext.keyUsage(0)]), 'keyUsage without what an EK does'],
    ['without keyUsage', ekWith([], ['2.5.29.15']), 'keyUsage without what an EK does'],
    [
      'for something else',
      ekWith([ext.extKeyUsage('2.23.133.8.3')]),
      'no 2.23.133.8.1 in extKeyUsage',
    ],
    ['that names nothing', ekWith([], [SAN]), 'neither subject nor subjectAltName'],
    [
      'whose only name is not critical',
      ekWith([ext.tpmName(TPM_OIDS, false)]),
      'subjectAltName stands for the subject and is not critical',
    ],
    ['that names two TPMs', ekWith([ext.twice(ext.tpmName())]), '2 directory names'],
    [
      'that names a host, and no TPM',
      ekWith([ext.raw(SAN, '3005 8203 612e62', true)]),
      '0 directory names',
    ],
    [
      'without a manufacturer',
      ekWith([ext.tpmName([MODEL, VERSION])]),
      `no single ${MANUFACTURER}`,
    ],
    ['without a model', ekWith([ext.tpmName([MANUFACTURER, VERSION])]), `no single ${MODEL}`],
    ['without a version', ekWith([ext.tpmName([MANUFACTURER, MODEL])]), `no single ${VERSION}`],
    ['of two models', ekWith([ext.tpmName([...TPM_OIDS, MODEL])]), `no single ${MODEL}`],
  ])('%s', (_what, certificate, what) => {
    expect(refused(certificate)).toBe(found(what))
  })

  test.each([
    ['an RSA key, without keyEncipherment', RSA, [0, 4, 5, 6]],
    ['a keyed hash, which has no usage', keyedHashPublicArea(), [0, 1, 2, 3, 4, 5, 6]],
  ])('of %s', (_what, ek, bits) => {
    expect(refused(ekWith([ext.keyUsage(...bits)]), ek)).toBe(
      found('keyUsage without what an EK does'),
    )
  })
})

describe('an AK certificate', () => {
  const akWith = (others: readonly Extension[] = [], without: readonly string[] = []) =>
    certificateOf({ extensions: changed(others, without, AK_EXTENSIONS) })

  test('is accepted as the profile has it', () => {
    expect(requireAkProfile(akWith())).toBeUndefined()
  })

  test.each([
    ['of version 1', certificateOf({ version: 1 }), 'version 1'],
    ['of an authority', akWith([ext.basicConstraints(true)]), 'it is an authority'],
    ['that names no key of its issuer', akWith([], ['2.5.29.35']), 'no authorityKeyIdentifier'],
    ['that does not sign', akWith([ext.keyUsage(4)]), 'keyUsage without digitalSignature'],
    ['without keyUsage', akWith([], ['2.5.29.15']), 'keyUsage without digitalSignature'],
    [
      'for something else',
      akWith([ext.extKeyUsage('2.23.133.8.1')]),
      'no 2.23.133.8.3 in extKeyUsage',
    ],
    ['without extKeyUsage', akWith([], ['2.5.29.37']), 'no 2.23.133.8.3 in extKeyUsage'],
  ])('is refused %s', (_what, certificate, what) => {
    expect(detailOf(() => requireAkProfile(certificate))).toBe(found(what))
  })
})

describe('what a certificate says of the TPM', () => {
  const named = (...oids: string[]) => tpmAttributes(ekWith([ext.tpmName(oids)]))
  const ATTRIBUTES = TPM_OIDS.map((oid) => [oid, 'id:00001014'])

  test('is manufacturer, model and version in this order, however they stand there', () => {
    expect(named(...TPM_OIDS)).toEqual(ATTRIBUTES)
    expect(named(VERSION, '2.5.4.3', MANUFACTURER, MODEL)).toEqual(ATTRIBUTES)
  })

  test.each([
    ['one is missing', [MANUFACTURER, MODEL]],
    ['one stands twice', [...TPM_OIDS, MODEL]],
    ['others stand there', ['2.5.4.3', '2.5.4.10', '2.5.4.11']],
    ['none stands there', []],
  ])('is nothing where %s', (_what, oids) => {
    expect(named(...oids)).toBeUndefined()
  })

  test('is nothing where no directory name stands there', () => {
    expect(tpmAttributes(ekWith([], [SAN]))).toBeUndefined()
    expect(tpmAttributes(ekWith([ext.raw(SAN, '3005 8203 612e62')]))).toBeUndefined()
  })
})

describe('the common name', () => {
  const certificate = certificateOf({})
  const commonNameOf = (...rdns: Buffer[]) =>
    commonName({ ...certificate, subject: rdnSequence(...rdns) })

  test('is the first one of the subject, whatever else stands before it', () => {
    const country = rdn('DE', 0x13, '550406')
    expect(commonNameOf(country, rdn('i-a'), rdn('i-b'))).toBe('i-a')
    expect(commonNameOf(country)).toBeUndefined()
    expect(commonNameOf()).toBeUndefined()
  })
})

test('a certificate of another key is refused', () => {
  expect(detailOf(() => requireSameKey(certificateOf({}), ECC))).toBe(
    'VERIFY_CERTIFICATE_KEY undefined',
  )
})
