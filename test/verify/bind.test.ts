import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Evidence } from '../../src/format/evidence.ts'
import { certifyQualifyingData, quoteQualifyingData } from '../../src/format/evidence-nonce.ts'
import { verifyEvidence } from '../../src/verify/index.ts'
import { gatherEvidence } from '../harness/evidence.ts'
import { bytesOf, genuineCaseOfFile } from '../harness/verify-case.ts'

/** What a requester has bound to evidence: the hash of a TLS key, say. */

const it = await genuineCaseOfFile()
const bind = randomBytes(32)
const options = {
  ...it.options,
  demandDocument: false,
  trust: { ekAnchors: [it.authority.der] },
}
const { certificates } = it.evidence.ek
const bound = await gatherEvidence(it.tpm, { nonce: it.nonce, bind, certificates })
const unbound = await gatherEvidence(it.tpm, { nonce: it.nonce, certificates })

const refusalOf = (evidence: Evidence, demanded?: Buffer) => {
  try {
    verifyEvidence(bytesOf(evidence), { ...options, bind: demanded })
    return undefined
  } catch (error) {
    const { code, check } = error as { code?: string; check?: string } // a VerifyError
    return `${check}: ${code}`
  }
}

describe('bound bytes', () => {
  test('are shown, and proven if they were demanded', () => {
    const verified = verifyEvidence(bytesOf(bound), { ...options, bind })
    expect(verified.bind).toBe(bind.toString('hex'))
    expect(verified.proven).toContain('bound')
  })

  test('are shown if nobody demanded them, and count for nothing', () => {
    const verified = verifyEvidence(bytesOf(bound), options)
    expect(verified.bind).toBe(bind.toString('hex'))
    expect(verified.notProven).toContain('bound')
  })

  test('are refused if others were demanded, or none are there', () => {
    expect(refusalOf(bound, randomBytes(32))).toBe('bound bytes: VERIFY_BIND')
    expect(refusalOf(bound, bind.subarray(1))).toBe('bound bytes: VERIFY_BIND')
    expect(refusalOf(unbound, bind)).toBe('bound bytes: VERIFY_BIND')
  })

  test('cannot be added, changed or taken away afterwards', () => {
    const { bind: _, ...without } = bound
    const other = randomBytes(32)
    const refused = 'quote: nonce: VERIFY_EXTRA_DATA'
    expect(refusalOf({ ...unbound, bind }, bind)).toBe(refused)
    expect(refusalOf({ ...bound, bind: other }, other)).toBe(refused)
    expect(refusalOf(without)).toBe(refused)
  })

  test('stand under the certification of each key, too', () => {
    for (const key of ['RK', 'BK', 'SK'] as const) {
      const certifications = { ...bound.certifications, [key]: unbound.certifications[key] }
      const refused = refusalOf({ ...bound, certifications }, bind)
      expect(refused).toBe(`certification of ${key}: nonce: VERIFY_EXTRA_DATA`)
    }
  })

  test('take no byte of the nonce for their own', () => {
    const whole = randomBytes(48)
    const at = (bytes: number) => ({ nonce: whole.subarray(0, bytes), bind: whole.subarray(bytes) })
    expect(quoteQualifyingData(at(16))).not.toEqual(quoteQualifyingData(at(17)))
    expect(quoteQualifyingData(at(16))).not.toEqual(quoteQualifyingData({ nonce: whole }))
    expect(certifyQualifyingData('RK', at(16))).not.toEqual(certifyQualifyingData('RK', at(17)))
  })

  test.each([0, 65])('%d bytes cannot be demanded', (length) => {
    const demanded = randomBytes(length)
    expect(() => verifyEvidence(bytesOf(bound), { ...options, bind: demanded })).toThrow(RangeError)
  })
})
