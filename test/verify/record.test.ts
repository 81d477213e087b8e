import { describe, expect, test } from 'vitest'
import {
  decodeRecord,
  encodeRecord,
  type VerificationRecord,
  verifyEvidence,
} from '../../src/verify/index.ts'
import { bytesOf, detailOf, genuineCaseOfFile, refusalOf } from '../harness/verify-case.ts'

/** The record of a verification as text. */

const it = await genuineCaseOfFile()
const { record } = verifyEvidence(bytesOf(it.evidence), it.options)
const decodedAs = (changes: object) =>
  detailOf(() => decodeRecord(Buffer.from(JSON.stringify({ ...record, ...changes }))))

test('is one line, and comes back as it went', () => {
  const text = encodeRecord(record)
  expect(text).toBe(`${JSON.stringify(record)}\n`)
  expect(decodeRecord(Buffer.from(text))).toEqual(record)
})

describe('is refused', () => {
  test.each<readonly [string, Partial<Record<keyof VerificationRecord, unknown>>]>([
    ['of another format', { format: 'another' }],
    ['of a later version', { version: 2 }],
    ['with an instance id of no instance', { instanceId: 'a b' }],
    ['with a Name that is none', { akName: '00' }],
    ['with text before a Name', { akName: `Name ${record.akName}` }],
    ['with text behind a Name', { akName: `${record.akName}, or so` }],
    ['with a clock before its beginning', { clockMs: -1 }],
    ['with a count that no TPM reaches', { resetCount: 2 ** 32 }],
    ['with a revision of no policy', { policyRevision: 0 }],
  ])('%s', (_what, changes) => {
    const [member = ''] = Object.keys(changes)
    expect(decodedAs(changes)).toMatch(/^VERIFY_FORMAT /)
    expect(decodedAs(changes)).toContain(member)
  })

  test('with a member that nobody knows, twice the same, or no JSON', () => {
    expect(decodedAs({ more: true })).toMatch(/^VERIFY_FORMAT /)
    for (const text of ['{"version":1,"version":1}', '{', '', '[]']) {
      expect(() => decodeRecord(Buffer.from(text))).toThrow()
    }
    expect(refusalOf(() => decodeRecord(Buffer.from('[]'))).code).toBe('VERIFY_FORMAT')
  })
})
