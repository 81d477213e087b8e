import { expect, test } from 'vitest'
import { parseDer } from '../../src/certificates/der.ts'
import { derTime } from '../../src/certificates/der-time.ts'
import { der } from '../harness/crl.ts'
import { detailOf } from '../harness/verify-case.ts'

const UTC_TIME = 0x17
const GENERALIZED_TIME = 0x18
const read = (tag: number, text: string) => derTime(parseDer(der(tag, Buffer.from(text))))

/** RFC 5280 4.1.2.5. */
test.each<[string, number, string, string]>([
  ['two digits below 50 are of 2000', UTC_TIME, '491231235958Z', '2049-12-31T23:59:58.000Z'],
  ['and from 50 on of 1900', UTC_TIME, '500102030405Z', '1950-01-02T03:04:05.000Z'],
  ['99 is 1999', UTC_TIME, '990601000000Z', '1999-06-01T00:00:00.000Z'],
  ['four digits', GENERALIZED_TIME, '20500102030405Z', '2050-01-02T03:04:05.000Z'],
  [
    'the end that is none (4.1.2.5)',
    GENERALIZED_TIME,
    '99991231235959Z',
    '9999-12-31T23:59:59.000Z',
  ],
  ['a year of two digits in four', GENERALIZED_TIME, '00500301000000Z', '0050-03-01T00:00:00.000Z'],
  ['29 February of a leap year', UTC_TIME, '280229000000Z', '2028-02-29T00:00:00.000Z'],
])('%s', (_, tag, text, time) => {
  expect(read(tag, text).toISOString()).toBe(time)
})

test.each<[string, number, string]>([
  ['29 February of another year', UTC_TIME, '270229000000Z'],
  ['month 0', UTC_TIME, '260001000000Z'],
  ['month 13', UTC_TIME, '261301000000Z'],
  ['day 0', UTC_TIME, '260100000000Z'],
  ['hour 24', UTC_TIME, '260101240000Z'],
  ['minute 60', UTC_TIME, '260101006000Z'],
  ['second 60', UTC_TIME, '260101000060Z'],
  ['no seconds', UTC_TIME, '2601010000Z'],
  ['fractions of a second', GENERALIZED_TIME, '20260101000000.5Z'],
  ['another time zone', UTC_TIME, '260101000000+0100'],
  ['no time zone', UTC_TIME, '260101000000'],
  ['something behind it', UTC_TIME, '260101000000Z0'],
  ['something before it', GENERALIZED_TIME, '020260101000000Z'],
  // What a Date makes of no digits at all, written without its marks.
  ['sixteen digits', GENERALIZED_TIME, '0000011130000000Z'],
  ['four digits of a year in UTCTime', UTC_TIME, '20260101000000Z'],
  ['two in GeneralizedTime', GENERALIZED_TIME, '260101000000Z'],
  ['nothing', UTC_TIME, ''],
  ['an OCTET STRING of a time', 0x04, '20260101000000Z'],
])('%s: no date', (_, tag, text) => {
  expect(detailOf(() => read(tag, text))).toBe('VERIFY_CERTIFICATE A date is none.')
})
