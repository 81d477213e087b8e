import { describe, expect, test } from 'vitest'
import { certificatesIn } from '../../src/certificates/certificate.ts'
import { jwkOf, spkiDigest } from '../../src/format/tpm-key.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { type VerifyOptions, verifyEvidence } from '../../src/verify/index.ts'
import { makeEkCertificate } from '../harness/certificate.ts'
import { gatherEvidence } from '../harness/evidence.ts'
import { bytesOf, genuineCaseOfFile, INSTANCE_ID } from '../harness/verify-case.ts'

/** What a verifier is told of evidence that holds. */

const it = await genuineCaseOfFile()
const { evidence, options } = it
const verified = (changes: Partial<VerifyOptions> = {}, of = evidence) =>
  verifyEvidence(bytesOf(of), { ...options, ...changes })
const HEX_NAME = /^000b[0-9a-f]{64}$/

test('keys by their Names, and those that are used by their public parts', () => {
  const { ek, ak, sk, rk, bk, dialect, instanceId, iid, bind } = verified()
  const { certifications } = evidence
  const ekKey = parsePublic(evidence.ek.public)
  expect(ek).toEqual({
    kind: evidence.ek.kind,
    name: expect.stringMatching(HEX_NAME),
    spkiSha256: spkiDigest(ekKey),
  })
  for (const key of [ak, rk, bk]) expect(key).toEqual({ name: expect.stringMatching(HEX_NAME) })
  const skKey = parsePublic(certifications.SK.public)
  expect(sk).toEqual({ name: expect.stringMatching(HEX_NAME), jwk: jwkOf(skKey) })
  expect(new Set([ek, ak, sk, rk, bk].map(({ name }) => name)).size).toBe(5)
  expect([dialect, instanceId, bind]).toEqual(['aliyun', INSTANCE_ID, undefined])
  expect(iid).toMatch(/^[0-9a-f]{32}$/)
})

describe('who vouches', () => {
  const [leaf] = certificatesIn(evidence.ek.certificates[0] ?? Buffer.alloc(0))

  test('a path of certificates, with the serial number of the first', () => {
    const [authority] = certificatesIn(it.authority.der)
    expect(verified().anchor).toEqual({
      kind: 'ek-certificate',
      fingerprints: [leaf?.fingerprint, authority?.fingerprint],
      serialNumber: leaf?.serialNumber,
    })
    expect(verified().record.certifiedFromMs).toBe(leaf?.notBefore.getTime())
  })

  test('a pin, which has neither path nor time', () => {
    const { spkiSha256 } = verified().ek
    const { identityCertificate } = options.trust as { identityCertificate: Buffer }
    const pinned = { ...evidence, ek: { ...evidence.ek, certificates: [] } }
    const found = verified({ trust: { ekPins: [spkiSha256], identityCertificate } }, pinned)
    expect(found.anchor).toEqual({ kind: 'ek-pin', spkiSha256 })
    expect(Object.keys(found.record)).not.toContain('certifiedFromMs')
    expect(found.notProven).toContain('instance-from-ek')
  })

  test('a certificate says which instance it is only if that is its name', () => {
    const certificates = [makeEkCertificate(it.authority, it.ekSpki, { subject: 'Virtual TPM 7' })]
    const other = { ...evidence, ek: { ...evidence.ek, certificates } }
    expect(verified().proven).toContain('instance-from-ek')
    expect(verified({}, other).notProven).toContain('instance-from-ek')
  })
})

test('PCRs of each bank, with what explains their values', () => {
  const { pcrs, replayed, nvPcrs, logsLeftOut, policy } = verified()
  const zero = '00'.repeat(32)
  expect(pcrs).toEqual({ sha256: { 0: zero, 1: zero, 2: zero, 7: zero } })
  const first = { logs: [], events: 0, laterEvents: 0, systemd: [] }
  expect(replayed).toEqual({ sha256: { 0: first, 1: first, 2: first, 7: first } })
  expect([nvPcrs, logsLeftOut, policy]).toEqual([[], [], []])
})

test('PCRs of the other bank alone, if they are quoted', async () => {
  const { nonce } = it
  const certificates = [...evidence.ek.certificates]
  const other = await gatherEvidence(it.tpm, { nonce, certificates, bank: 'sha384' })
  const { pcrs, replayed } = verified({ demandDocument: false }, other)
  expect([Object.keys(pcrs), Object.keys(replayed)]).toEqual([['sha384'], ['sha384']])
  expect(Object.keys(replayed['sha384'] ?? {})).toEqual(Object.keys(pcrs['sha384'] ?? {}))
})
