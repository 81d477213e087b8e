import { describe, expect, test } from 'vitest'
import { crlExtensions, oidOf } from '../../src/certificates/crl-extensions.ts'
import { parseDer } from '../../src/certificates/der.ts'
import { der } from '../harness/crl.ts'
import { detailOf } from '../harness/verify-case.ts'

const NO_OID = 'VERIFY_CERTIFICATE DER: no OID.'

/** X.690 8.19. */
describe('an OBJECT IDENTIFIER', () => {
  const read = (hex: string) => oidOf(parseDer(der(0x06, hex)))

  test.each<[string, string]>([
    ['2a8648ce3d040302', '1.2.840.10045.4.3.2'],
    ['551d14', '2.5.29.20'],
    ['00', '0.0'],
    ['27', '0.39'],
    ['28', '1.0'],
    ['4f', '1.39'],
    ['50', '2.0'],
    ['8837', '2.999'],
    // A byte of 80 within an arc, which is none at its beginning.
    ['2a818000', '1.2.16384'],
    // An arc of more bits than a number has.
    ['2a8fffffffffffffffff7f', '1.2.147573952589676412927'],
    [`2a${'01'.repeat(31)}`, `1.2${'.1'.repeat(31)}`],
  ])('%s: %s', (hex, digits) => {
    expect(read(hex)).toBe(digits)
  })

  test.each<[string, string]>([
    ['longer than 32 bytes', `2a${'01'.repeat(32)}`],
    ['empty', ''],
    ['that ends within an arc', '551d1481'],
    ['that ends within an arc whose last seven bits are zeros', '551d8180'],
    ['with an arc that begins with zeros (8.19.2)', '551d8014'],
    ['that begins with zeros', '80551d14'],
  ])('%s: refused', (_, hex) => {
    expect(detailOf(() => read(hex))).toBe(NO_OID)
  })

  test('anything else, or nothing, is none', () => {
    expect(detailOf(() => oidOf(parseDer(der(0x04, '551d14'))))).toBe(NO_OID)
    expect(detailOf(() => oidOf(undefined))).toBe(NO_OID)
  })
})

/** RFC 5280 4.1: extnID, critical, extnValue. */
describe('extensions', () => {
  const CRL_NUMBER = '0603 551d14'
  const VALUE = '0403 020107'
  const read = (...extensions: readonly Buffer[]) =>
    crlExtensions(parseDer(der(0x30, ...extensions)))
  const value = Buffer.from('020107', 'hex')

  test.each<[string, string, boolean]>([
    ['nothing said', '', false],
    ['FALSE', '010100', false],
    ['TRUE', '0101ff', true],
    ['true by another byte than FF', '010101', true],
  ])('%s of being critical', (_, flag, critical) => {
    const extensions = read(der(0x30, CRL_NUMBER, flag, VALUE), der(0x30, '0603 551d15', VALUE))
    expect([...extensions]).toEqual([
      ['2.5.29.20', { critical, value }],
      ['2.5.29.21', { critical: false, value }],
    ])
  })

  test('none', () => {
    expect(read().size).toBe(0)
  })

  test.each<[string, string, string]>([
    ['of no value', CRL_NUMBER, 'an extension is none'],
    ['of no value, and critical', `${CRL_NUMBER} 0101ff`, 'an extension is none'],
    ['whose value is no OCTET STRING', `${CRL_NUMBER} 020107`, 'an extension is none'],
    ['of two values', `${CRL_NUMBER} ${VALUE} ${VALUE}`, 'an extension is none'],
    ['that is critical behind its value', `${CRL_NUMBER} ${VALUE} 0101ff`, 'an extension is none'],
    ['that is critical twice', `${CRL_NUMBER} 0101ff 0101ff ${VALUE}`, 'an extension is none'],
    ['of no OID', VALUE, 'no OID'],
    ['of nothing', '', 'no OID'],
  ])('one %s: refused', (_, members, why) => {
    const refusal = detailOf(() => read(der(0x30, members)))
    expect(refusal).toBe(`VERIFY_CERTIFICATE DER: ${why}.`)
  })

  test('one that is no SEQUENCE: refused', () => {
    const refusal = detailOf(() => read(der(0x31, CRL_NUMBER, VALUE)))
    expect(refusal).toBe('VERIFY_CERTIFICATE DER: an extension is none.')
  })

  test('one that stands twice: refused', () => {
    const refusal = detailOf(() => read(der(0x30, CRL_NUMBER, VALUE), der(0x30, CRL_NUMBER, VALUE)))
    expect(refusal).toBe('VERIFY_CERTIFICATE DER: an extension stands twice.')
  })
})
