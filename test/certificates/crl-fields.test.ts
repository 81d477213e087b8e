import { expect, test } from 'vitest'
import { parseCrl } from '../../src/certificates/crl.ts'
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
import { detailOf, thrownBy } from '../harness/verify-case.ts'

/** What a list is refused for (RFC 5280 5): kinds that are not read, and fields that are not what they should be. */

const issuer = makeAuthority('Issuer')
const made = (fields: Partial<CrlFields>) => makeCrl({ issuer, signature: Buffer.of(1), ...fields })
const refusalOf = (bytes: Buffer) =>
  detailOf(() => parseCrl(bytes)).replace(/^VERIFY_CRL_FILE /, '')
const withEntry = (...extensions: readonly Buffer[]) => ({
  entries: [entry('01', extensionsOfEntry(...extensions))],
})
const idp = (value: string, critical = true) => ({
  extensions: [crlExtension(28, value, critical)],
})
const NUMBER = crlExtension(20, '020101')
const REASON = crlExtension(21, '0a0101')

test.each<[string, Partial<CrlFields>, string]>([
  ['a delta list', { extensions: [crlExtension(27, '020101', true)] }, 'a delta CRL'],
  ['a delta list, not critical', { extensions: [crlExtension(27, '020101')] }, 'a delta CRL'],
  ['an indirect list', idp('3003 8401ff'), 'an indirect CRL'],
  ['an indirect list, not critical', idp('3003 8401ff', false), 'an indirect CRL'],
  [
    'an entry of another issuer',
    withEntry(crlExtension(29, '3003820161', true)),
    'an indirect CRL',
  ],
  [
    'an entry of another issuer, not critical',
    withEntry(crlExtension(29, '3003820161')),
    'an indirect CRL',
  ],
  ['some reasons only', idp('3004 83020640'), 'a CRL of some reasons only'],
  ['a scope by a relative name', idp('3009 a007 a105 3003 060155'), 'a scope by a relative name'],
  [
    'an unknown critical extension',
    { extensions: [NUMBER, crlExtension(99, '0500', true)] },
    'a critical extension that is not known: 2.5.29.99',
  ],
  [
    'an unknown critical extension of an entry',
    withEntry(REASON, crlExtension(99, '0500', true)),
    'a critical extension of an entry that is not known: 2.5.29.99',
  ],
  ['version 3', { version: '020102' }, 'its version'],
  ['version 1 as a number, which is left out', { version: '020100' }, 'its version'],
  ['extensions in version 1', { version: '', extensions: [NUMBER] }, 'extensions in version 1'],
  [
    'extensions of an entry in version 1',
    { version: '', ...withEntry(REASON) },
    'extensions in version 1',
  ],
  [
    'two algorithms',
    { outerAlgorithm: der(0x30, '06082a8648ce3d040303') },
    'two signature algorithms',
  ],
  ['an entry that is none', { entries: [der(0x02, '01')] }, 'an entry is none'],
  [
    'an entry in a SET',
    { entries: [der(0x31, der(0x02, '01'), utcTime('250101000000Z'))] },
    'an entry is none',
  ],
  ['an entry without a date', { entries: [der(0x30, der(0x02, '01'))] }, 'an entry is none'],
  ['an entry of nothing', { entries: [der(0x30)] }, 'an entry is none'],
  [
    'an entry whose serial is no number',
    { entries: [der(0x30, der(0x04, '01'), utcTime('250101000000Z'))] },
    'an entry is none',
  ],
  [
    'an entry of four fields',
    { entries: [entry('01', extensionsOfEntry(), der(0x05))] },
    'too many fields',
  ],
  [
    'extensions of an entry in a SET',
    { entries: [entry('01', der(0x31, REASON))] },
    'an entry has something else than extensions',
  ],
  ['a reason of no byte', withEntry(crlExtension(21, '0a00')), 'its structure'],
  ['a reason that is no ENUMERATED', withEntry(crlExtension(21, '020101')), 'its structure'],
  ['two reasons in one', withEntry(crlExtension(21, '0a0101 0a0101')), 'its structure'],
  ['something behind its extensions', { extensions: [], after: [der(0x05)] }, 'its fields'],
  ['something in place of its extensions', { after: [der(0x05)] }, 'its fields'],
  ['no extensions where they would be', { after: [der(0xa0)] }, 'its structure'],
  [
    'extensions twice',
    { after: [der(0xa0, der(0x30, NUMBER), der(0x30, NUMBER))] },
    'its structure',
  ],
  ['extensions in a SET', { after: [der(0xa0, der(0x31, NUMBER))] }, 'its structure'],
  ['eight fields', { extensions: [], after: [der(0x05)], entries: [] }, 'too many fields'],
])('%s: refused', (_, fields, what) => {
  expect(refusalOf(made(fields))).toBe(`Found: ${what}.`)
})

test.each<[string, Partial<CrlFields>, string]>([
  ['no time', { thisUpdate: der(0x04, '00') }, 'A date is none.'],
  ['a time that is none', { thisUpdate: utcTime('260230000000Z') }, 'A date is none.'],
  ['an end that is none', { nextUpdate: utcTime('260230000000Z') }, 'A date is none.'],
  [
    'an entry of a time that is none',
    { entries: [der(0x30, der(0x02, '01'), utcTime('2611010000Z'))] },
    'A date is none.',
  ],
  ['an extension twice', { extensions: [NUMBER, NUMBER] }, 'DER: an extension stands twice.'],
  [
    'an authority key identifier that is none',
    { extensions: [crlExtension(35, '0400')] },
    'authorityKeyIdentifier is malformed.',
  ],
  ['an algorithm without an OID', { algorithm: der(0x30) }, 'DER: no OID.'],
])('%s: refused, as it would be in a certificate', (_, fields, detail) => {
  const bytes = made(fields)
  expect(refusalOf(bytes)).toBe(detail)
  expect(thrownBy(() => parseCrl(bytes))).toMatchObject({ cause: { code: 'VERIFY_CERTIFICATE' } })
})

test('a refusal of the list itself says once what was found', () => {
  expect(thrownBy(() => parseCrl(made({ version: '020102' })))).not.toHaveProperty('cause')
})
