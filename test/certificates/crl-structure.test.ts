import { describe, expect, test } from 'vitest'
import { parseCertificate } from '../../src/certificates/certificate.ts'
import { CRL_BYTES_MAX, comparableSerial, crlsIn, parseCrl } from '../../src/certificates/crl.ts'
import { makeAuthority } from '../harness/certificate.ts'
import {
  type CrlFields,
  crlExtension,
  der,
  entry,
  extensionsOfEntry,
  makeCrl,
  utcTime,
} from '../harness/crl.ts'
import { detailOf } from '../harness/verify-case.ts'

/** CertificateList and TBSCertList (RFC 5280 5.1): what is read, and what is none. */

const issuer = makeAuthority('Issuer')
const { comparableSubject, subject: NAME } = parseCertificate(issuer.der)
const SIGNATURE = Buffer.of(7, 8)
const made = (fields: Partial<CrlFields> = {}) =>
  makeCrl({ issuer, signature: SIGNATURE, ...fields })
const generalizedTime = (text: string) => der(0x18, Buffer.from(text))
const NONE = Buffer.alloc(0)
const detail = (run: () => unknown) => detailOf(run).replace('VERIFY_CRL_FILE ', '')

describe('read', () => {
  const KEY_ID = crlExtension(35, der(0x30, der(0x80, '0102')))
  const DATE = new Date('2025-01-01')

  test('all of a list', () => {
    const ONLY_USERS = crlExtension(28, '3003 8101ff', true)
    const bytes = made({ entries: [entry('00ff'), entry('01')], extensions: [KEY_ID, ONLY_USERS] })
    expect(parseCrl(bytes)).toEqual({
      comparableIssuer: comparableSubject,
      authorityKeyId: Buffer.of(1, 2),
      thisUpdate: new Date('2026-11-01'),
      nextUpdate: new Date('2026-12-01'),
      scope: { only: 'users' },
      revoked: new Map([
        ['ff', { date: DATE, reason: 0 }],
        ['01', { date: DATE, reason: 0 }],
      ]),
      signatureAlgorithm: '1.2.840.10045.4.3.2',
      tbs: bytes.subarray(3, bytes.length - 17),
      signature: SIGNATURE,
    })
  })

  test.each<[string, Partial<CrlFields>]>([
    ['version 1', { version: '' }],
    ['version 2 without extensions', {}],
    ['version 2 with an extension of another kind', { extensions: [crlExtension(99, '0500')] }],
  ])('%s: about all certificates, of no named key, and with nobody on it', (_, fields) => {
    const { authorityKeyId, scope, revoked } = parseCrl(made(fields))
    expect({ authorityKeyId, scope, revoked }).toEqual({
      authorityKeyId: undefined,
      scope: {},
      revoked: new Map(),
    })
  })

  test.each<[string, Partial<CrlFields>, Date | undefined]>([
    ['in UTCTime', { nextUpdate: utcTime('261201000000Z') }, new Date('2026-12-01')],
    [
      'in GeneralizedTime',
      { nextUpdate: generalizedTime('20501201000000Z') },
      new Date('2050-12-01'),
    ],
    ['none', { nextUpdate: NONE }, undefined],
    ['none, in version 1', { nextUpdate: NONE, version: '' }, undefined],
    ['none, and extensions', { nextUpdate: NONE, extensions: [KEY_ID] }, undefined],
  ])('nextUpdate: %s', (_, fields, end) => {
    const entries = [entry('01')]
    const { nextUpdate, revoked } = parseCrl(made({ ...fields, entries }))
    expect({ nextUpdate, serials: [...revoked.keys()] }).toEqual({
      nextUpdate: end,
      serials: ['01'],
    })
    expect(parseCrl(made(fields)).nextUpdate).toEqual(end)
  })

  test.each<[string, readonly Buffer[], number]>([
    ['none', [], 0],
    ['keyCompromise', [crlExtension(21, '0a0101')], 1],
    ['a critical one', [crlExtension(21, '0a0104', true)], 4],
    [
      'none, but a date that is not critical',
      [crlExtension(24, '180f32303235303130313030303030305a')],
      0,
    ],
    ['behind such a date', [crlExtension(24, '0500'), crlExtension(21, '0a0109')], 9],
  ])('reason: %s', (_, extensions, reason) => {
    const { revoked } = parseCrl(made({ entries: [entry('01', extensionsOfEntry(...extensions))] }))
    expect([...revoked]).toEqual([['01', { date: DATE, reason }]])
  })

  test.each([
    ['authorityKeyIdentifier', crlExtension(35, der(0x30, der(0x80, '0102')), true)],
    ['issuerAltName', crlExtension(18, '3003820161', true)],
    ['cRLNumber', crlExtension(20, '020101', true)],
    ['issuingDistributionPoint', crlExtension(28, '3000', true)],
  ])('critical, and known: %s', (_, extension) => {
    expect(parseCrl(made({ extensions: [extension] })).comparableIssuer).toBe(comparableSubject)
  })

  test.each([
    ['ff', 'ff'],
    ['00ff', 'ff'],
    ['000000ff', 'ff'],
    ['ff0000ff', 'ff0000ff'],
    ['0100', '0100'],
    ['00', '00'],
    ['0000', '00'],
  ])('serial number %s is %s', (serial, comparable) => {
    expect(comparableSerial(serial)).toBe(comparable)
  })
})

describe('refused', () => {
  const ALGORITHM = der(0x30, '06082a8648ce3d040302')
  const TIME = utcTime('261101000000Z')
  const VERSION = der(0x02, '01')
  const WHOLE = [VERSION, ALGORITHM, NAME, TIME]
  const TBS = der(0x30, ...WHOLE)
  const BITS = der(0x03, '00 01')
  const LIST = [TBS, ALGORITHM, BITS]

  test.each<[string, Buffer, string]>([
    ['nothing', NONE, 'its structure'],
    ['an empty SEQUENCE', der(0x30), 'its structure'],
    ['a SET', der(0x31, ...LIST), 'its structure'],
    ['a list and another element', Buffer.concat([der(0x30, ...LIST), der(0x05)]), 'its structure'],
    [
      'a list, another element, and bytes that are not looked at',
      Buffer.concat([der(0x30, ...LIST), der(0x05), Buffer.of(1)]),
      'its structure',
    ],
    ['what is signed, and no more', der(0x30, TBS), 'no CertificateList'],
    ['no signature', der(0x30, TBS, ALGORITHM), 'no CertificateList'],
    [
      'a signature in an OCTET STRING',
      der(0x30, TBS, ALGORITHM, der(0x04, '00 01')),
      'no CertificateList',
    ],
    [
      'what is signed in a SET',
      der(0x30, der(0x31, ...WHOLE), ALGORITHM, BITS),
      'no CertificateList',
    ],
    ['four fields', der(0x30, ...LIST, der(0x05)), 'too many fields'],
    [
      'four fields, and bytes that are not looked at',
      der(0x30, ...LIST, der(0x05), '01'),
      'too many fields',
    ],
  ])('%s', (_, bytes, what) => {
    expect(detail(() => parseCrl(bytes))).toBe(`Found: ${what}.`)
  })

  test.each<[string, readonly Buffer[]]>([
    ['nothing', []],
    ['a version', [VERSION]],
    ['an algorithm', [ALGORITHM]],
    ['a version and an algorithm', [VERSION, ALGORITHM]],
    ['an issuer, but no time', [VERSION, ALGORITHM, NAME]],
    ['a time, but no issuer', [VERSION, ALGORITHM, TIME, TIME]],
    ['an issuer in a SET', [VERSION, ALGORITHM, der(0x31), TIME]],
  ])('a TBSCertList of %s', (_, fields) => {
    const bytes = der(0x30, der(0x30, ...fields), ALGORITHM, BITS)
    expect(detail(() => parseCrl(bytes))).toBe('Found: fields are missing.')
  })

  test('the longest, and a byte more', () => {
    const zeros = Buffer.alloc(CRL_BYTES_MAX + 1)
    expect(detail(() => parseCrl(zeros))).toBe('Found: too long.')
    expect(detail(() => parseCrl(zeros.subarray(1)))).toBe('Found: its structure.')
  })
})

describe('files', () => {
  const pem = (list: Buffer, lineEnd = '\n') =>
    [
      '-----BEGIN X509 CRL-----',
      ...(list.toString('base64').match(/.{1,64}/g) ?? []),
      '-----END X509 CRL-----',
      '',
    ].join(lineEnd)
  const first = made({ entries: [entry('01')] })
  const second = made({ entries: [entry('02')] })
  const serialsIn = (text: string) =>
    crlsIn(Buffer.from(text)).map(({ revoked }) => [...revoked.keys()])

  test('one in DER', () => {
    expect(crlsIn(first)).toEqual([parseCrl(first)])
  })

  test.each([
    ['one', pem(first), [['01']]],
    ['two, in their order', `${pem(second)}${pem(first)}`, [['02'], ['01']]],
    ['two, with text around them', `Ä\n${pem(first)}text\n${pem(second)}0`, [['01'], ['02']]],
    ['lines of Windows', pem(first, '\r\n'), [['01']]],
    ['none', 'no list', []],
  ])('in PEM: %s', (_, text, serials) => {
    expect(serialsIn(text)).toEqual(serials)
  })

  test.each([
    ['a byte that is none of base64', `${pem(first)}${pem(second).replace('M', '!')}`],
    ['no end', `${pem(first)}${pem(second).slice(0, -24)}`],
    ['nothing in it', `${pem(first)}${pem(NONE).replace('\n', '')}`],
  ])('in PEM, one with %s: all are refused', (_, text) => {
    expect(detail(() => serialsIn(text))).toBe('Found: a damaged list.')
  })
})
