import { describe, expect, test } from 'vitest'
import { parseCertificate } from '../../src/certificates/certificate.ts'
import { withTbsMember } from '../harness/altered-certificate.ts'
import { makeAuthority } from '../harness/certificate.ts'
import { der, utcTime } from '../harness/crl.ts'
import { detailOf } from '../harness/verify-case.ts'

/** What is read of a certificate, and what is none. */

const { der: whole } = makeAuthority('Authority')

/** @param length of all of it: its subject is as long as it takes */
function certificateOf(length: number): Buffer {
  const named = (characters: number) => {
    const text = der(0x0c, Buffer.alloc(characters, 'a'))
    return withTbsMember(whole, 'subject', der(0x30, der(0x31, der(0x30, '0603550403', text))))
  }
  return named(1000 + length - named(1000).length)
}

test('is at most 16 KiB, as what parses it takes memory for each byte', () => {
  expect(parseCertificate(certificateOf(16 * 1024)).der).toHaveLength(16 * 1024)
  const refused = detailOf(() => parseCertificate(certificateOf(16 * 1024 + 1)))
  expect(refused).toBe('VERIFY_CERTIFICATE too long.')
})

describe('validity (RFC 5280 4.1.2.5)', () => {
  const generalizedTime = (text: string) => der(0x18, Buffer.from(text))
  const good = utcTime('260101000000Z')
  const withValidity = (...times: readonly Buffer[]) =>
    withTbsMember(whole, 'validity', der(0x30, ...times))

  test('is two times to the second, in UTC', () => {
    const times = [utcTime('491231235959Z'), generalizedTime('20500101000000Z')]
    const { notBefore, notAfter } = parseCertificate(withValidity(...times))
    expect([notBefore.toISOString(), notAfter.toISOString()]).toEqual([
      '2049-12-31T23:59:59.000Z',
      '2050-01-01T00:00:00.000Z',
    ])
  })

  test.each([
    ['nothing', utcTime('')],
    ['no date', utcTime('some day')],
    ['no seconds', utcTime('2601010000Z')],
    ['a distance from UTC', utcTime('260101000000+0100')],
    ['a thirteenth month', utcTime('261301000000Z')],
    ['the time of wherever it is read', generalizedTime('20260101000000')],
    ['a distance from UTC, of four digits of years', generalizedTime('20260101000000+0100')],
    ['30 February', generalizedTime('20260230000000Z')],
    ['half a second', generalizedTime('20260101000000.5Z')],
  ])('is none with %s in place of a time', (_, time) => {
    const refused = 'VERIFY_CERTIFICATE A date is none.'
    expect(detailOf(() => parseCertificate(withValidity(time, good)))).toBe(refused)
    expect(detailOf(() => parseCertificate(withValidity(good, time)))).toBe(refused)
  })
})
