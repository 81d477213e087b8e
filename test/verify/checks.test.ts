import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { parseCertificate } from '../../src/certificates/certificate.ts'
import { CHECKS, parseTrust, verifyEvidence } from '../../src/verify/index.ts'
import { forge } from '../harness/attacker.ts'
import {
  AK_EXTENSIONS,
  EK_EXTENSIONS,
  ext,
  makeAuthority,
  makeCertificate,
  makeEkCertificate,
  newKey,
  spkiOf,
} from '../harness/certificate.ts'
import { withEk } from '../harness/vector.ts'
import { VECTORS } from '../harness/vectors.ts'
import {
  bytesOf,
  genuineCaseOfFile,
  INSTANCE_ID,
  refusalOf,
  refusals,
} from '../harness/verify-case.ts'

/**
 * One vector for each check, altered in one thing only: every check is asked by itself, and none
 * but the one named may refuse.
 */

const it = await genuineCaseOfFile()

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

  test('no check refuses by a code that it does not name', () => {
    const unnamed = CHECKS.flatMap(({ name, codes }) =>
      VECTORS.filter(({ check, code }) => check === name && !codes.some((one) => one === code)),
    )
    expect(unnamed).toEqual([])
  })
})

describe('accepted', () => {
  test('the genuine evidence', () => {
    const verified = verifyEvidence(bytesOf(it.evidence), it.options)
    expect(verified).toMatchObject({
      instanceId: INSTANCE_ID,
      anchor: { kind: 'ek-certificate' },
      proven: ['ek-genuine', 'instance-from-cloud', 'instance-from-ek'],
      notProven: [
        'not-revoked',
        'ak-in-tpm',
        'pcr-policy',
        'event-log',
        'all-replayed',
        'bound',
        'continuity',
      ],
    })
  })

  test('a software AK next to a genuine EK, as provisional and only where that is allowed', () => {
    const evidence = forge(it.evidence)
    const { allowProvisional: _, ...byDefault } = it.options
    expect(refusalOf(() => verifyEvidence(bytesOf(evidence), byDefault)).code).toBe(
      'VERIFY_PROVISIONAL',
    )
    const found = verifyEvidence(bytesOf(evidence), it.options)
    expect(found).toMatchObject({ verified: false, provisional: true })
    expect(found.notProven).toContain('ak-in-tpm')
    expect(
      refusalOf(() => verifyEvidence(bytesOf(evidence), { ...it.options, demandActivation: true }))
        .code,
    ).toBe('VERIFY_ACTIVATION')
  })

  test('trust that was parsed once, and is not parsed again', () => {
    const anchor = Buffer.from(it.authority.der)
    const trust = parseTrust({ ...it.options.trust, ekAnchors: [anchor] })
    anchor.fill(0)
    expect(verifyEvidence(bytesOf(it.evidence), { ...it.options, trust }).anchor).toMatchObject({
      kind: 'ek-certificate',
    })
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

  test('an AK with a certificate, which proves that it is in a TPM', () => {
    const key = newKey()
    const { authority, options } = it
    const forged = forge(it.evidence, { key })
    const certificate = makeCertificate({
      subject: 'AK',
      issuer: authority.name,
      publicKey: spkiOf(key),
      signer: authority.key,
      extensions: AK_EXTENSIONS,
    })
    const evidence = { ...forged, ak: { ...forged.ak, certificates: [certificate] } }
    const { identityCertificate = Buffer.alloc(0) } = options.trust
    const trust = { akAnchors: [authority.der], identityCertificate }
    const asked = { ...options, trust, allowProvisional: false }
    const verified = verifyEvidence(bytesOf(evidence), asked)
    expect(verified).toMatchObject({ verified: true, provisional: false })
    expect(verified.anchor.kind).toBe('ak-certificate')
    expect(verified.proven).toContain('ak-in-tpm')
    expect(verified.notProven).toContain('ek-genuine')
  })

  test.each([
    ['a certificate of the AK that no anchor is given for', {}, true],
    ['anchors for AKs, and no certificate of one', { akAnchors: [it.authority.der] }, false],
    ['neither', {}, false],
  ])('an EK with a certificate, beside %s', (_, more, isThere) => {
    const certificates = isThere ? [makeAuthority('Nobody').der] : []
    const evidence = { ...it.evidence, ak: { ...it.evidence.ak, certificates } }
    const options = { ...it.options, trust: { ...it.options.trust, ...more } }
    expect(verifyEvidence(bytesOf(evidence), options)).toMatchObject({
      provisional: true,
      anchor: { kind: 'ek-certificate' },
    })
  })

  test("a P-256 EK's certificate with keyEncipherment in place of keyAgreement, as Intel's", () => {
    const extensions = EK_EXTENSIONS.map((each) =>
      each.oid === '2.5.29.15' ? ext.keyUsage(2) : each,
    )
    const certificate = makeEkCertificate(it.authority, it.ekSpki, { extensions })
    const verified = verifyEvidence(bytesOf(withEk(it.evidence, [certificate])), it.options)
    expect(verified.anchor.kind).toBe('ek-certificate')
  })

  test('a root that comes within the evidence and is pinned by its fingerprint', () => {
    const root = makeAuthority('Root')
    const between = makeAuthority('Between', {}, root)
    const chain = [makeEkCertificate(between, it.ekSpki), root.der, between.der]
    const { fingerprint } = parseCertificate(root.der)
    const trust = { ...it.options.trust, ekAnchors: [], ekAnchorFingerprints: [fingerprint] }
    const verified = verifyEvidence(bytesOf(withEk(it.evidence, chain)), { ...it.options, trust })
    expect(verified.anchor).toMatchObject({ kind: 'ek-certificate' })
  })

  test('two authorities of one name, of which one leads to the anchor', () => {
    const root = makeAuthority('Root')
    const wrong = makeAuthority('Between', {}, root)
    const right = makeAuthority('Between', {}, root)
    const chain = [makeEkCertificate(right, it.ekSpki), wrong.der, right.der]
    const trust = { ...it.options.trust, ekAnchors: [root.der] }
    const verified = verifyEvidence(bytesOf(withEk(it.evidence, chain)), { ...it.options, trust })
    expect(verified.anchor).toMatchObject({ kind: 'ek-certificate' })
  })

  test.each([
    ['later in the same run', { clockMs: -1 }],
    ['after a resume', { restartCount: -1 }],
    ['after a reboot', { resetCount: -1 }],
    ['after a reboot at which the count wrapped', { resetCount: 2 ** 32 - 1 }],
  ])(
    'counters: %s',
    (_, ahead: { clockMs?: number; resetCount?: number; restartCount?: number }) => {
      const { record } = verifyEvidence(bytesOf(it.evidence), it.options)
      const { clockMs = 0, resetCount = 0, restartCount = 0 } = ahead
      const last = {
        ...record,
        clockMs: record.clockMs + clockMs,
        resetCount: (record.resetCount + resetCount) % 2 ** 32,
        restartCount: (record.restartCount + 2 ** 32 + restartCount) % 2 ** 32,
      }
      const verified = verifyEvidence(bytesOf(it.evidence), { ...it.options, last })
      expect(verified.proven).toContain('continuity')
    },
  )

  test('no record and no document: what they would prove is not claimed', () => {
    const { identityDocument: _, ...evidence } = it.evidence
    const options = { ...it.options, demandDocument: false }
    const { notProven } = verifyEvidence(bytesOf(evidence), options)
    expect(notProven).toEqual(expect.arrayContaining(['continuity', 'instance-from-cloud']))
  })

  test('a PCR policy whose values are the quoted ones', () => {
    const pcrs = { sha256: { '0': '00'.repeat(32), '7': ['ff'.repeat(32), '00'.repeat(32)] } }
    const policy = { format: 'metabind pcr policy', version: 1, pcrs }
    const pcrPolicy = Buffer.from(JSON.stringify(policy))
    const verified = verifyEvidence(bytesOf(it.evidence), { ...it.options, pcrPolicy })
    expect(verified.proven).toContain('pcr-policy')
  })
})
