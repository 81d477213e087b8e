import { BIND_BYTES_MAX, decodeEvidence, type Evidence } from '../format/evidence.ts'
import { timeMsOf } from '../format/time.ts'
import { PCR_MAX } from '../format/tpm-pcr-selection.ts'
import { parsePcrSignatures } from '../measurements/pcr-signature.ts'
import { type PolicyFile, parseTrustedPolicy } from '../measurements/trusted-policy.ts'
import { certificationChecks, QUOTE_CHECKS } from './attestation-checks.ts'
import { type Check, refuseUnless } from './check.ts'
import { isAkInTpm } from './claims.ts'
import { DOCUMENT_CHECKS } from './document-checks.ts'
import { findAnchor } from './endorsement.ts'
import { KEY_CHECKS } from './key-checks.ts'
import { requireNonce } from './nonce.ts'
import { requireRecord, type VerificationRecord } from './record.ts'
import { STATE_CHECKS } from './state-checks.ts'
import { type Demands, type FinishedActivation, type Subject, takeApart } from './subject.ts'
import { type ParsedTrust, parseTrust, type Trust } from './trust.ts'
import { describeVerified, type Verified } from './verified.ts'
import { inCheck } from './verify-error.ts'

/** What evidence is checked against. Everything comes from the caller: no clock, file or network. */
export interface VerifyOptions extends PolicyFile {
  /** What you sent to the instance: 16 to 64 random bytes, used once. */
  readonly nonce: Uint8Array
  /** Bytes that must be bound, 1 to 64: refuses evidence in which others are, or none. */
  readonly bind?: Uint8Array | undefined
  /** Parsed at each call, unless parseTrust did that before. */
  readonly trust: Trust | ParsedTrust
  /** The time at which certificates must be valid. */
  readonly now: Date
  /** Signatures of PCR values, as in the section `.pcrsig` of a kernel image, for a rule `signed-pcrs`. */
  readonly pcrSignatures?: Uint8Array | undefined
  /** PCRs (0 to 31) to whose quoted values logs must lead, besides those that the policy names. */
  readonly demandReplayed?: readonly number[] | undefined
  readonly expectedInstanceId?: string | undefined
  /** Whether the EK certificate names the instance; `prefer` when left out. */
  readonly ekInstance?: 'require' | 'prefer' | 'ignore' | undefined
  /** Refuses evidence without the cloud's identity document. */
  readonly demandDocument?: boolean | undefined
  /** Refuses evidence of an AK that `activation` is not about, even if the AK has a certificate. */
  readonly demandActivation?: boolean | undefined
  /** Refuses a certificate, other than an anchor, of which no list of its issuer that is current is given. */
  readonly demandCrls?: boolean | undefined
  /**
   * Accepts evidence whose AK nothing shows to be in a TPM: neither `activation` nor an AK
   * certificate. Anybody with a copy of a genuine EK certificate can make such evidence.
   */
  readonly allowProvisional?: boolean | undefined
  /** `record` of the last evidence that was accepted of this instance, which it must go on from. */
  readonly last?: VerificationRecord | undefined
  /** From finishChallenge. */
  readonly activation?: FinishedActivation | undefined
}

/** Every check of evidence, in order. docs/verify.md says what each proves. */
export const CHECKS: readonly Check[] = [
  {
    name: 'nonce',
    codes: ['VERIFY_NONCE'],
    run: ({ evidence, demands }) =>
      refuseUnless(evidence.nonce.equals(demands.nonce), 'VERIFY_NONCE'),
  },
  {
    name: 'bound bytes',
    codes: ['VERIFY_BIND'],
    run: ({ evidence, demands: { bind } }) =>
      refuseUnless(bind === undefined || evidence.bind?.equals(bind) === true, 'VERIFY_BIND'),
  },
  {
    name: 'expected instance',
    codes: ['VERIFY_INSTANCE_ID'],
    run: ({ evidence, demands: { expectedInstanceId: expected } }) => {
      const isIt = expected === undefined || expected === evidence.instanceId
      refuseUnless(isIt, 'VERIFY_INSTANCE_ID')
    },
  },
  ...KEY_CHECKS,
  ...QUOTE_CHECKS,
  ...certificationChecks('RK'),
  ...certificationChecks('BK'),
  ...certificationChecks('SK'),
  ...STATE_CHECKS,
  ...DOCUMENT_CHECKS,
  {
    name: 'provisional',
    codes: ['VERIFY_PROVISIONAL'],
    run: (subject) => {
      const isEnough = subject.demands.allowProvisional || isAkInTpm(subject, findAnchor(subject))
      refuseUnless(isEnough, 'VERIFY_PROVISIONAL')
    },
  },
]

/**
 * Verifies an evidence document.
 *
 * @param bytes the document, of any origin
 * @returns the identity, and what is proven of it and what is not
 * @throws VerifyError the first check that refused
 * @throws RangeError if the nonce is not of 16 to 64 bytes, `bind` not of 1 to 64, a PCR none, or `now` or `last` is none
 */
export function verifyEvidence(bytes: Uint8Array, options: VerifyOptions): Verified {
  return describeVerified(verifiedSubject(bytes, options))
}

/**
 * Takes evidence apart and runs every check.
 *
 * @param document its bytes, or what decodeEvidence made of them
 * @throws VerifyError
 */
export function verifiedSubject(document: Uint8Array | Evidence, options: VerifyOptions): Subject {
  const subject = unverifiedSubject(document, options)
  for (const check of CHECKS) inCheck(check.name, () => check.run(subject))
  return subject
}

/** Takes evidence apart, and nothing more. @throws VerifyError VERIFY_SIZE, VERIFY_FORMAT, … */
export function unverifiedSubject(
  document: Uint8Array | Evidence,
  options: VerifyOptions,
): Subject {
  const demands = parseOptions(options)
  const evidence =
    document instanceof Uint8Array ? inCheck('format', () => decodeEvidence(document)) : document
  return inCheck('structures', () => takeApart(evidence, demands))
}

function parseOptions(options: VerifyOptions): Demands {
  const { bind, trust, pcrSignatures } = options
  const nonce = requireNonce(options.nonce)
  if (bind !== undefined && (bind.length < 1 || bind.length > BIND_BYTES_MAX)) {
    throw new RangeError(`1 to ${BIND_BYTES_MAX} bytes can be bound`)
  }
  const nowMs = timeMsOf(options.now)
  const policy = inCheck('PCR policy file', () => parseTrustedPolicy(options, nowMs))
  return {
    nonce,
    bind: bind && Buffer.from(bind),
    now: new Date(nowMs),
    trust: inCheck('trust', () => parseTrust(trust)),
    pcrPolicy: policy,
    pcrSignatures:
      pcrSignatures && inCheck('PCR signatures', () => parsePcrSignatures(pcrSignatures)),
    replayed: [...new Set([...(policy?.replayed ?? []), ...requiredPcrs(options)])],
    expectedInstanceId: options.expectedInstanceId,
    ekInstance: options.ekInstance ?? 'prefer',
    demandDocument: options.demandDocument === true,
    demandActivation: options.demandActivation === true,
    demandCrls: options.demandCrls === true,
    allowProvisional: options.allowProvisional === true,
    last: options.last && requireRecord(options.last),
    activation: options.activation,
  }
}

function requiredPcrs({ demandReplayed = [] }: VerifyOptions): readonly number[] {
  const isPcr = (pcr: number) => Number.isInteger(pcr) && pcr >= 0 && pcr <= PCR_MAX
  if (!demandReplayed.every(isPcr)) throw new RangeError(`a PCR is a number from 0 to ${PCR_MAX}`)
  return demandReplayed
}
