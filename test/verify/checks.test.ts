import { createHash } from 'node:crypto'
import { openTpm, type Tpm } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/test/swtpm.ts'
import { CHECKS, verifyEvidence } from '../../src/verify/index.ts'
import { forge } from '../harness/attacker.ts'
import { ATTESTATION_VECTORS } from '../harness/attestation-vectors.ts'
import { CHAIN_VECTORS } from '../harness/chain-vectors.ts'
import { KEY_VECTORS } from '../harness/key-vectors.ts'
import { STATE_VECTORS } from '../harness/state-vectors.ts'
import { withEk } from '../harness/vector.ts'
import {
  bytesOf,
  genuineCase,
  INSTANCE_ID,
  refusalOf,
  refusals,
  type VerifyCase,
} from '../harness/verify-case.ts'

/**
 * One vector for each check, altered in one thing only: every check is asked by itself, and none
 * but the one named may refuse. Numbers are of reference/tpm.md 9.
 */

let swtpm: Swtpm
let tpm: Tpm
let it: VerifyCase
beforeAll(async () => {
  swtpm = await startSwtpm()
  tpm = await openTpm({ tcti: swtpm.tcti })
  it = await genuineCase(tpm)
})
afterAll(async () => {
  await tpm.close()
  await swtpm.stop()
})

const VECTORS = [...KEY_VECTORS, ...CHAIN_VECTORS, ...ATTESTATION_VECTORS, ...STATE_VECTORS]

describe('refused by one check alone', () => {
  test.each(VECTORS)('$check: $title', async ({ check, code, alter, also = [] }) => {
    const { evidence = it.evidence, options } = await alter(it)
    const asked = { ...it.options, ...options }
    const found = refusals(evidence, asked)
    expect([...new Set(found.map((refusal) => refusal.code))]).toEqual([code, ...also])
    expect(refusalOf(() => verifyEvidence(bytesOf(evidence), asked))).toEqual({ code, check })
  })

  test('every check has a vector, and every one of its codes', () => {
    const provoked = new Set(VECTORS.map(({ check, code }) => `${check} ${code}`))
    const missing = CHECKS.flatMap(({ name, codes }) =>
      codes.map((code) => `${name} ${code}`),
    ).filter((wanted) => !provoked.has(wanted))
    expect(missing).toEqual([])
  })
})

describe('accepted', () => {
  test('the genuine evidence', () => {
    const verified = verifyEvidence(bytesOf(it.evidence), it.options)
    expect(verified).toMatchObject({
      instanceId: INSTANCE_ID,
      anchor: { kind: 'ek-certificate' },
      proven: ['ek-genuine', 'instance-from-cloud', 'instance-from-ek'],
      notProven: ['ak-in-tpm', 'pcr-policy', 'event-log', 'clock'],
    })
  })

  test('a software AK next to a genuine EK, which is why ak-in-tpm is not proven', () => {
    const evidence = forge(it.evidence)
    expect(verifyEvidence(bytesOf(evidence), it.options).notProven).toContain('ak-in-tpm')
    expect(
      refusalOf(() => verifyEvidence(bytesOf(evidence), { ...it.options, demandActivation: true }))
        .code,
    ).toBe('VERIFY_ACTIVATION')
  })

  test('a pinned EK without a certificate', () => {
    const ekPins = [createHash('sha256').update(it.ekSpki).digest('hex')]
    const { identityCertificate = Buffer.alloc(0) } = it.options.trust
    const options = { ...it.options, trust: { ekPins, identityCertificate } }
    expect(verifyEvidence(bytesOf(withEk(it.evidence, [])), options).anchor).toEqual({
      kind: 'ek-pin',
      spkiSha256: ekPins[0],
    })
  })
})
