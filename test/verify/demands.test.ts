import { describe, expect, test } from 'vitest'
import { quoteQualifyingData } from '../../src/format/evidence-nonce.ts'
import { type VerifyOptions, verifyEvidence } from '../../src/verify/index.ts'
import { requireNonce } from '../../src/verify/nonce.ts'
import { gatherEvidence } from '../harness/evidence.ts'
import { bytesOf, genuineCaseOfFile, refusalOf } from '../harness/verify-case.ts'

/** What a verifier asks for is looked at first: the least and the most of it is taken, and what is beyond is said. */

const it = await genuineCaseOfFile()
const verify = (options: Partial<VerifyOptions>, evidence = it.evidence) =>
  verifyEvidence(bytesOf(evidence), { ...it.options, ...options })

describe('a nonce', () => {
  test.each([16, 64])('of %d bytes is taken, as a copy', (length) => {
    const nonce = Buffer.alloc(length, 1)
    const taken = requireNonce(nonce)
    nonce.fill(2)
    expect(taken).toEqual(Buffer.alloc(length, 1))
  })

  test.each([0, 15, 65])('of %d bytes is none', (length) => {
    expect(() => requireNonce(Buffer.alloc(length))).toThrow('a nonce has 16 to 64 bytes')
  })
})

test.each([1, 64])('%d bytes can be bound and demanded', async (length) => {
  const bind = Buffer.alloc(length, 7)
  const { certificates } = it.evidence.ek
  const evidence = await gatherEvidence(it.tpm, { nonce: it.nonce, bind, certificates })
  expect(quoteQualifyingData({ nonce: it.nonce, bind })).not.toEqual(
    quoteQualifyingData({ nonce: it.nonce }),
  )
  expect(verify({ bind, demandDocument: false }, evidence).proven).toContain('bound')
})

describe('a PCR to whose value logs must lead', () => {
  test.each([-1, 0.5, Number.NaN, 32])('is none: %d', (pcr) => {
    expect(() => verify({ demandReplayed: [0, pcr] })).toThrow(RangeError)
  })

  test.each([0, 31])('is one: %d', (pcr) => {
    expect(() => verify({ demandReplayed: [pcr] })).not.toThrow(RangeError)
  })
})

test.each<[string, () => unknown]>([
  ['format', () => verifyEvidence(Buffer.from('{}'), it.options)],
  [
    'structures',
    () => verify({}, { ...it.evidence, ek: { ...it.evidence.ek, public: Buffer.alloc(9) } }),
  ],
  ['PCR policy file', () => verify({ pcrPolicy: Buffer.from('{}') })],
  ['PCR signatures', () => verify({ pcrSignatures: Buffer.from('[]') })],
  ['trust', () => verify({ trust: { ekAnchors: [Buffer.from('no certificate')] } })],
])('what cannot be read is named: %s', (check, run) => {
  expect(refusalOf(run).check).toBe(check)
})
