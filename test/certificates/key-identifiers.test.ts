import { expect, test } from 'vitest'
import { authorityKeyIdOf, subjectKeyIdOf } from '../../src/certificates/key-identifiers.ts'
import { der } from '../harness/crl.ts'
import { detailOf } from '../harness/verify-case.ts'

/** RFC 5280 4.2.1.1 and 4.2.1.2. */

const ID = Buffer.of(1, 2, 3)
const ISSUER_AND_SERIAL = [der(0xa1, 'a402 3000'), der(0x82, '07')]

test('a key of its own is named by an OCTET STRING, and by nothing else', () => {
  expect(subjectKeyIdOf(der(0x04, ID))).toEqual(ID)
  const refusal = detailOf(() => subjectKeyIdOf(der(0x30, der(0x80, ID))))
  expect(refusal).toBe('VERIFY_CERTIFICATE subjectKeyIdentifier is malformed.')
})

test.each<[string, readonly Buffer[], Buffer | undefined]>([
  ['by its identifier', [der(0x80, ID)], ID],
  ['by its identifier, issuer and serial number', [der(0x80, ID), ...ISSUER_AND_SERIAL], ID],
  ['by its issuer and serial number alone', ISSUER_AND_SERIAL, undefined],
  ['not at all', [], undefined],
])("the issuer's key is named %s", (_, fields, id) => {
  expect(authorityKeyIdOf(der(0x30, ...fields))).toEqual(id)
})

test.each([
  ['an OCTET STRING', der(0x04, ID)],
  ['a SET', der(0x31, der(0x80, ID))],
])("the issuer's key is not named by %s", (_, value) => {
  const refusal = detailOf(() => authorityKeyIdOf(value))
  expect(refusal).toBe('VERIFY_CERTIFICATE authorityKeyIdentifier is malformed.')
})
