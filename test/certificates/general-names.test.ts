import { describe, expect, test } from 'vitest'
import { parseCertificate } from '../../src/certificates/certificate.ts'
import { parseDer } from '../../src/certificates/der.ts'
import { comparableRdns } from '../../src/certificates/distinguished-name.ts'
import { type GeneralName, generalNameOf, namesOf } from '../../src/certificates/general-names.ts'
import { ext, makeAuthority, makeEkCertificate, newKey, spkiOf } from '../harness/certificate.ts'
import { der } from '../harness/crl.ts'
import { ATTRIBUTE_OIDS, rdn, rdnSequence } from '../harness/names.ts'
import { detailOf } from '../harness/verify-case.ts'

/** The names that a certificate is for, as name constraints look at them (RFC 5280 4.2.1.6, 4.2.1.10). */

const text = (it: string) => Buffer.from(it)
const MALFORMED = 'VERIFY_CERTIFICATE GeneralName is malformed.'
const NAME = rdnSequence(rdn('TPM'))
const DIRECTORY_NAME: GeneralName = {
  form: 'directoryName',
  rdns: comparableRdns(parseDer(NAME)),
  looseRdns: comparableRdns(parseDer(NAME)),
}
// id-on-SmtpUTF8Mailbox (RFC 9598), and one that is none.
const MAILBOX = der(0x06, '2b06010505070809')
const OTHER_TYPE = der(0x06, '2b06010505070808')
const VALUE = der(0xa0, der(0x0c, text('tpm@example.com')))
/** What no constraint of mail addresses permits. */
const UNREADABLE: GeneralName = { form: 'rfc822Name', text: '' }

describe('a GeneralName', () => {
  test.each<[string, Buffer, GeneralName]>([
    ['otherName', der(0xa0, OTHER_TYPE, VALUE), { form: 'otherName' }],
    ['rfc822Name', der(0x81, text('a@b')), { form: 'rfc822Name', text: 'a@b' }],
    ['dNSName', der(0x82, text('a.b')), { form: 'dNSName', text: 'a.b' }],
    ['x400Address', der(0xa3, der(0x30)), { form: 'x400Address' }],
    ['directoryName', der(0xa4, NAME), DIRECTORY_NAME],
    ['ediPartyName', der(0xa5, der(0x81, text('a'))), { form: 'ediPartyName' }],
    ['URI', der(0x86, text('urn:a')), { form: 'uniformResourceIdentifier', text: 'urn:a' }],
    ['iPAddress', der(0x87, '7f000001'), { form: 'iPAddress', bytes: Buffer.of(127, 0, 0, 1) }],
    ['registeredID', der(0x88, '2a03'), { form: 'registeredID' }],
  ])('is read: %s', (_form, bytes, name) => {
    expect(generalNameOf(parseDer(bytes))).toEqual(name)
  })

  test.each([
    ['of a tenth form', der(0x89, '2a03')],
    ['of a universal tag', NAME],
    ['directoryName of nothing', der(0xa4)],
    ['directoryName of a set', der(0xa4, rdn('TPM'))],
  ])('is refused: %s', (_what, bytes) => {
    expect(detailOf(() => generalNameOf(parseDer(bytes)))).toBe(MALFORMED)
  })
})

describe('the names of a certificate', () => {
  const root = makeAuthority('Root')
  const key = spkiOf(newKey())
  const certificateWith = (san?: Buffer) => {
    const extensions = san === undefined ? [] : [ext.raw('2.5.29.17', san.toString('hex'))]
    return parseCertificate(makeEkCertificate(root, key, { extensions }))
  }
  const namesOfSubject = (subject: Buffer) => namesOf({ ...certificateWith(), subject })
  const namesOfSan = (...names: Buffer[]) => namesOf(certificateWith(der(0x30, ...names)))

  test('are none where neither subject nor subjectAltName names anything', () => {
    expect(namesOf(certificateWith())).toEqual([])
    expect(namesOfSan()).toEqual([])
  })

  test('are its subject, and then all of subjectAltName', () => {
    const san = der(0x30, der(0x82, text('a.b')), der(0xa4, NAME))
    expect(namesOf({ ...certificateWith(san), subject: NAME })).toEqual([
      DIRECTORY_NAME,
      { form: 'dNSName', text: 'a.b' },
      DIRECTORY_NAME,
    ])
  })

  test('are each mail address in the subject (RFC 5280 4.1.2.6), and no other attribute', () => {
    const address = (it: string) => rdn(it, 0x16, ATTRIBUTE_OIDS.emailAddress)
    const names = namesOfSubject(rdnSequence(rdn('c@d'), address('a@b'), address('e@f')))
    expect(names.slice(1)).toEqual([
      { form: 'rfc822Name', text: 'a@b' },
      { form: 'rfc822Name', text: 'e@f' },
    ])
  })

  test('hold an address that nothing permits, where one has no value', () => {
    const bare = der(0x31, der(0x30, der(0x06, ATTRIBUTE_OIDS.emailAddress)))
    expect(namesOfSubject(rdnSequence(bare)).slice(1)).toEqual([UNREADABLE])
    expect(namesOfSubject(rdnSequence(der(0x31, der(0x30)))).slice(1)).toEqual([])
  })

  test('hold an address that nothing permits, beside a mailbox of RFC 9598', () => {
    const names = namesOfSan(der(0xa0, MAILBOX, VALUE))
    expect(names).toEqual([{ form: 'otherName' }, UNREADABLE])
  })

  test.each([
    ['an otherName of another type', der(0xa0, OTHER_TYPE, VALUE), 'otherName'],
    ['an otherName of nothing', der(0xa0), 'otherName'],
    ['another form with the same in it', der(0xa5, MAILBOX), 'ediPartyName'],
  ])('hold no such address beside %s', (_what, name, form) => {
    expect(namesOfSan(name)).toEqual([{ form }])
  })

  test.each([
    ['a NULL', der(0x05)],
    ['a set', der(0x31, der(0x82, text('a.b')))],
    ['one name, in no sequence', der(0x82, text('a.b'))],
  ])('are not read of a subjectAltName that is %s', (_what, san) => {
    expect(detailOf(() => namesOf(certificateWith(san)))).toBe(MALFORMED)
  })
})
