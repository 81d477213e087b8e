import { describe, expect, test } from 'vitest'
import { ATTRIBUTE, parsePublic, type TpmPublic } from '../../src/format/tpm-public.ts'
import { AK_TEMPLATE, RK_TEMPLATE } from '../../src/format/tpm-templates.ts'
import { hasFullUnique, isMadeFrom, requireTemplate } from '../../src/verify/key-template.ts'
import { keyOfType } from '../harness/key-of-type.ts'
import { detailOf, genuineCaseOfFile } from '../harness/verify-case.ts'

/** Keys and the templates that they are made from. */

const it = await genuineCaseOfFile()
const AK = parsePublic(it.evidence.ak.public)
const EK = parsePublic(it.evidence.ek.public)
const RK = parsePublic(it.evidence.certifications.RK.public)

/** The AK with other attributes in front, as its bytes. */
function withAttributes(attributes: number): TpmPublic {
  const bytes = Buffer.from(AK.bytes)
  bytes.writeUInt32BE(attributes, 4)
  return parsePublic(bytes)
}
const found = (key: TpmPublic) =>
  detailOf(() => requireTemplate(key, AK_TEMPLATE, 'VERIFY_AK_PUBLIC'))

test('the keys of evidence are made from the templates of the agent', () => {
  expect([isMadeFrom(AK, AK_TEMPLATE), isMadeFrom(RK, RK_TEMPLATE)]).toEqual([true, true])
  expect([isMadeFrom(RK, AK_TEMPLATE), isMadeFrom(AK, RK_TEMPLATE)]).toEqual([false, false])
})

describe('what differs is named', () => {
  test('an attribute that is clear, and one that is set', () => {
    const { attributes } = AK
    expect(found(withAttributes(attributes & ~ATTRIBUTE.restricted))).toBe(
      'VERIFY_AK_PUBLIC Found: restricted clear.',
    )
    expect(found(withAttributes(attributes | ATTRIBUTE.decrypt))).toBe(
      'VERIFY_AK_PUBLIC Found: decrypt set.',
    )
  })

  test('several, in the order of their bits', () => {
    const other = AK.attributes ^ ATTRIBUTE.fixedTPM ^ ATTRIBUTE.x509sign
    expect(found(withAttributes(other))).toBe(
      'VERIFY_AK_PUBLIC Found: fixedTPM clear, x509sign set.',
    )
  })

  test('bits that have no name, as a number', () => {
    const other = (AK.attributes | 0x1000) >>> 0
    expect(found(withAttributes(other))).toBe(
      `VERIFY_AK_PUBLIC Attributes 0x${other.toString(16).padStart(8, '0')}.`,
    )
  })

  test('and the rest in words', () => {
    expect(
      found({ ...AK, bytes: Buffer.concat([AK.bytes.subarray(0, 8), AK.bytes.subarray(9)]) }),
    ).toBe('VERIFY_AK_PUBLIC Its type, algorithms, policy or size differ.')
  })
})

test.each([
  ['AK', AK],
  ['EK', EK],
  ['RK', RK],
])('the %s has all of its key', (_name, key) => {
  expect(hasFullUnique(key)).toBe(true)
})

const empty = Buffer.alloc(0)
test.each<readonly [string, TpmPublic]>([
  ['x of its point', { ...keyOfType(AK, 'ecc'), x: empty }],
  ['y of its point', { ...keyOfType(AK, 'ecc'), y: empty }],
  ['its digest', { ...keyOfType(RK, 'keyedhash'), unique: empty }],
])('a public area without %s is no key', (_what, key) => {
  expect(hasFullUnique(key)).toBe(false)
})
