import { randomBytes } from 'node:crypto'
import { identityDocumentAudience } from '../../src/format/evidence-nonce.ts'
import { type VerificationRecord, verifyEvidence } from '../../src/verify/index.ts'
import { OTHER_SHAPES, ofAnotherIssuer, ofAnotherSigner, reshaped } from './signed-document.ts'
import { flipLast, forged, policy, type Vector, vector, withPkcs7, ZERO } from './vector.ts'
import { bytesOf, INSTANCE_ID, signed, type VerifyCase } from './verify-case.ts'

/** Counters, logs, policies and identity documents that are not what they should be. */

const OTHER_NAME = `000b${'ff'.repeat(32)}`

const STATE: Vector[] = [
  vector(
    'parts from two runs of the TPM',
    'clock',
    'VERIFY_CLOCK',
    forged(({ clock }) => ({ BK: { clock: { ...clock, resetCount: clock.resetCount + 1 } } })),
  ),
  vector(
    'a clock that no number holds',
    'clock',
    'VERIFY_CLOCK',
    forged(({ clock }) => ({ quote: { clock: { ...clock, clockMs: 2n ** 53n } } })),
  ),
  ...(
    [
      [
        'a reset count that went back',
        'VERIFY_ROLLED_BACK',
        ({ resetCount }) => ({ resetCount: resetCount + 1 }),
      ],
      [
        'a restart count that went back',
        'VERIFY_ROLLED_BACK',
        ({ restartCount }) => ({ restartCount: restartCount + 1 }),
      ],
      [
        'a clock that went back over a reset',
        'VERIFY_ROLLED_BACK',
        ({ resetCount, clockMs }) => ({
          resetCount: resetCount - 1,
          clockMs: clockMs + 60_000,
        }),
      ],
      [
        'an earlier certificate',
        'VERIFY_ROLLED_BACK',
        ({ certifiedFromMs = 0 }) => ({
          certifiedFromMs: certifiedFromMs + 1000,
        }),
      ],
      [
        'a clock that went back within a run',
        'VERIFY_CLONED',
        ({ clockMs }) => ({ clockMs: clockMs + 1 }),
      ],
      ['a replay: a clock that stands', 'VERIFY_CLONED', () => ({})],
      [
        'the TPM of another instance',
        'VERIFY_CLONED',
        () => ({ instanceId: 'i-another000000000000' }),
      ],
      ['another EK than before', 'VERIFY_REINSTALLED', () => ({ ekName: OTHER_NAME })],
      ['another AK than before', 'VERIFY_REINSTALLED', () => ({ akName: OTHER_NAME })],
      ['another RK than before', 'VERIFY_REINSTALLED', () => ({ rkName: OTHER_NAME })],
      [
        'the record of another machine',
        'VERIFY_RECORD',
        () => ({
          instanceId: 'i-another000000000000',
          ekName: OTHER_NAME,
        }),
      ],
    ] satisfies [string, string, (now: VerificationRecord) => Partial<VerificationRecord>][]
  ).map(([title, code, change]) =>
    vector(title, 'continuity', code, (it) => {
      const { record } = verifyEvidence(bytesOf(it.evidence), it.options)
      // Earlier than the evidence, but for what the vector changes.
      const last = title.startsWith('a replay')
        ? record
        : { ...record, clockMs: record.clockMs - 1 }
      return { options: { last: { ...last, ...change(record) } } }
    }),
  ),
  vector('a PCR value that the policy does not have', 'PCR policy', 'VERIFY_PCR_POLICY', () => ({
    options: { pcrPolicy: policy({ '7': 'ff'.repeat(32) }) },
  })),
  vector('none of the values that the policy allows', 'PCR policy', 'VERIFY_PCR_POLICY', () => ({
    options: { pcrPolicy: policy({ '7': ['ff'.repeat(32), 'ee'.repeat(32)] }) },
  })),
  vector(
    'fewer PCRs than the policy demands (CVE-2022-0317)',
    'PCR policy',
    'VERIFY_PCR_POLICY',
    () => ({ options: { pcrPolicy: policy({ '7': '00'.repeat(32), '14': '00'.repeat(32) }) } }),
  ),
  vector(
    'a policy of an earlier revision than the machine satisfied',
    'PCR policy',
    'VERIFY_POLICY_REVISION',
    (it) => {
      const { record } = verifyEvidence(bytesOf(it.evidence), it.options)
      const last = { ...record, clockMs: record.clockMs - 1, policyRevision: 2 }
      return { options: { pcrPolicy: policy({ '7': '00'.repeat(32) }), last } }
    },
  ),
  vector('an event log that is none', 'event log', 'VERIFY_EVENT_LOG', ({ evidence }) => ({
    evidence: { ...evidence, eventLog: Buffer.from('no log') },
  })),
  vector('a PCR that must be replayed and is not quoted', 'replayed PCRs', 'VERIFY_REPLAY', () => ({
    options: { demandReplayed: [15] },
  })),
]

const DOCUMENT: Vector[] = [
  vector(
    'no identity document where one is demanded',
    'identity document: there',
    'VERIFY_DOCUMENT_ABSENT',
    ({ evidence }) => {
      const { identityDocument: _, ...rest } = evidence
      return { evidence: rest }
    },
  ),
  vector(
    'an altered signature',
    'identity document: signature',
    'VERIFY_DOCUMENT_SIGNATURE',
    ({ evidence }) => ({
      evidence: withPkcs7(evidence, flipLast(evidence.identityDocument?.pkcs7 ?? Buffer.alloc(1))),
    }),
  ),
  vector(
    "the vendor's key did not sign it",
    'identity document: signature',
    'VERIFY_DOCUMENT_SIGNATURE',
    ({ options }) => ({
      options: { trust: { ekAnchors: options.trust.ekAnchors ?? [] } },
    }),
  ),
  ...[
    ['bytes that are no SignedData', () => Buffer.from('no pkcs7')],
    [
      'a SignedData with bytes behind',
      (it: VerifyCase) => Buffer.concat([signed(it.signer, it.nonce), ZERO]),
    ],
  ].map(([title, make]) =>
    vector(String(title), 'identity document: signature', 'VERIFY_DOCUMENT', (it) => ({
      evidence: withPkcs7(it.evidence, typeof make === 'function' ? make(it) : ZERO),
    })),
  ),
  ...OTHER_SHAPES.map(([title, change]) =>
    vector(title, 'identity document: signature', 'VERIFY_DOCUMENT', (it) => ({
      evidence: withPkcs7(it.evidence, reshaped(signed(it.signer, it.nonce), change)),
    })),
  ),
  vector(
    'another signer is named than the one whose key signed',
    'identity document: signature',
    'VERIFY_DOCUMENT_SIGNATURE',
    (it) => ({
      evidence: withPkcs7(it.evidence, reshaped(signed(it.signer, it.nonce), ofAnotherSigner)),
    }),
  ),
  vector(
    'a signer of the same number under another issuer is named',
    'identity document: signature',
    'VERIFY_DOCUMENT_SIGNATURE',
    (it) => ({
      evidence: withPkcs7(it.evidence, reshaped(signed(it.signer, it.nonce), ofAnotherIssuer)),
    }),
  ),
  vector(
    'a document of no instance',
    'identity document: audience',
    'VERIFY_DOCUMENT',
    ({ evidence, signer, nonce }) => {
      const text = JSON.stringify({ audience: identityDocumentAudience({ nonce }) })
      return { evidence: withPkcs7(evidence, Buffer.from(signer.signPkcs7(text), 'base64')) }
    },
  ),
  vector(
    'a second instance-id, smuggled in with the audience',
    'identity document: audience',
    'VERIFY_DOCUMENT',
    ({ evidence, signer, nonce }) => {
      const audience = identityDocumentAudience({ nonce })
      const text = `{"instance-id":"i-another","audience":"${audience}","instance-id":"${INSTANCE_ID}"}`
      return { evidence: withPkcs7(evidence, Buffer.from(signer.signPkcs7(text), 'base64')) }
    },
  ),
  vector(
    'another audience',
    'identity document: audience',
    'VERIFY_DOCUMENT_AUDIENCE',
    ({ evidence, signer }) => ({ evidence: withPkcs7(evidence, signed(signer, randomBytes(32))) }),
  ),
  vector(
    'no audience',
    'identity document: audience',
    'VERIFY_DOCUMENT_AUDIENCE',
    ({ evidence, signer }) => ({
      evidence: withPkcs7(
        evidence,
        Buffer.from(signer.signPkcs7(JSON.stringify({ 'instance-id': INSTANCE_ID })), 'base64'),
      ),
    }),
  ),
  vector(
    'another instance',
    'identity document: instance',
    'VERIFY_DOCUMENT_INSTANCE',
    ({ evidence, signer, nonce }) => ({
      evidence: withPkcs7(
        evidence,
        signed(signer, nonce, { 'instance-id': 'i-another000000000000' }),
      ),
    }),
  ),
]

export const STATE_VECTORS: readonly Vector[] = [...STATE, ...DOCUMENT]
