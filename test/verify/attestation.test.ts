import { expect, test } from 'vitest'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { parseAttestation, requireKeyScheme, requireType } from '../../src/verify/attestation.ts'
import { keyOfType } from '../harness/key-of-type.ts'
import { detailOf, genuineCaseOfFile } from '../harness/verify-case.ts'

/** What a signed structure is, and by which scheme it was signed, as a refusal says it. */

const it = await genuineCaseOfFile()
const { quote, certifications } = it.evidence
const QUOTE = parseAttestation(quote.attest, quote.signature)
const CERTIFY = parseAttestation(certifications.SK.attest, certifications.SK.signature)

test('a quote is a quote, and a certification a certification', () => {
  expect(requireType(QUOTE, 'quote').type).toBe('quote')
  expect(requireType(CERTIFY, 'certify').type).toBe('certify')
})

test('neither is the other, nor is a time stamp or an audit one of them', () => {
  expect(detailOf(() => requireType(CERTIFY, 'quote'))).toBe('VERIFY_TYPE Found: certify.')
  expect(detailOf(() => requireType(QUOTE, 'certify'))).toBe('VERIFY_TYPE Found: quote.')
  const other = {
    ...QUOTE,
    attest: { ...QUOTE.attest, body: { type: 'other', tag: 0x8019 } },
  } as const
  expect(detailOf(() => requireType(other, 'quote'))).toBe('VERIFY_TYPE Found: 0x8019.')
})

test('another scheme than that of the key is named', () => {
  const ak = keyOfType(parsePublic(it.evidence.ak.public), 'ecc')
  expect(requireKeyScheme(QUOTE, ak)).toBeUndefined()
  const other = { ...ak, scheme: { algorithm: 0x0018, hash: 0x000c } }
  expect(detailOf(() => requireKeyScheme(QUOTE, other))).toBe(
    'VERIFY_SIGNATURE_ALGORITHM Found: 0x0018 with 0x000b.',
  )
})
