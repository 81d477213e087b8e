import { decodeEvidence, NONCE_BYTES_MAX, NONCE_BYTES_MIN } from '../format/evidence.ts'
import { certificationChecks, QUOTE_CHECKS } from './attestation-checks.ts'
import { type Check, refuseUnless } from './check.ts'
import { isAkInTpm } from './claims.ts'
import { type ClockRecord, requireClockRecord } from './clock.ts'
import { DOCUMENT_CHECKS } from './document-checks.ts'
import { findAnchor } from './endorsement.ts'
import { KEY_CHECKS } from './key-checks.ts'
import { parsePcrPolicy } from './pcr-policy.ts'
import { STATE_CHECKS } from './state-checks.ts'
import { type Demands, type FinishedActivation, type Subject, takeApart } from './subject.ts'
import { timeMsOf } from './time.ts'
import { type ParsedTrust, parseTrust, type Trust } from './trust.ts'
import { describeVerified, type Verified } from './verified.ts'
import { inCheck } from './verify-error.ts'

/** What evidence is checked against. Everything comes from the caller: no clock, file or network. */
export interface VerifyOptions {
  /** What you sent to the instance: 16 to 64 random bytes, used once. */
  readonly nonce: Uint8Array
  /** Parsed at each call, unless parseTrust did that before. */
  readonly trust: Trust | ParsedTrust
  /** The time at which certificates must be valid. */
  readonly now: Date
  /** A PCR policy file (docs/verify.md), which the PCRs must satisfy. */
  readonly pcrPolicy?: Uint8Array | undefined
  readonly expectedInstanceId?: string | undefined
  /** Whether the EK certificate names the instance; `prefer` when left out. */
  readonly ekInstance?: 'require' | 'prefer' | 'ignore' | undefined
  /** Refuses evidence without the cloud's identity document. */
  readonly demandDocument?: boolean | undefined
  /** Refuses evidence of an AK that `activation` is not about, even if the AK has a certificate. */
  readonly demandActivation?: boolean | undefined
  /**
   * Accepts evidence whose AK nothing shows to be in a TPM: neither `activation` nor an AK
   * certificate. Anybody with a copy of a genuine EK certificate can make such evidence.
   */
  readonly allowProvisional?: boolean | undefined
  /** `clock` of the last evidence that was accepted of this AK. */
  readonly lastClock?: ClockRecord | undefined
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
 * @throws RangeError if the nonce is not of 16 to 64 bytes, or `now` or `lastClock` is none
 */
export function verifyEvidence(bytes: Uint8Array, options: VerifyOptions): Verified {
  return describeVerified(verifiedSubject(bytes, options))
}

/** Takes evidence apart and runs every check. @throws VerifyError */
export function verifiedSubject(bytes: Uint8Array, options: VerifyOptions): Subject {
  const subject = unverifiedSubject(bytes, options)
  for (const check of CHECKS) inCheck(check.name, () => check.run(subject))
  return subject
}

/** Takes evidence apart, and nothing more. @throws VerifyError VERIFY_SIZE, VERIFY_FORMAT, … */
export function unverifiedSubject(bytes: Uint8Array, options: VerifyOptions): Subject {
  const demands = parseOptions(options)
  const evidence = inCheck('format', () => decodeEvidence(bytes))
  return inCheck('structures', () => takeApart(evidence, demands))
}

function parseOptions(options: VerifyOptions): Demands {
  const { nonce, trust, pcrPolicy } = options
  if (nonce.length < NONCE_BYTES_MIN || nonce.length > NONCE_BYTES_MAX) {
    throw new RangeError(`a nonce has ${NONCE_BYTES_MIN} to ${NONCE_BYTES_MAX} bytes`)
  }
  const policy = pcrPolicy === undefined ? undefined : pcrPolicy
  return {
    nonce: Buffer.from(nonce),
    now: new Date(timeMsOf(options.now)),
    trust: inCheck('trust', () => parseTrust(trust)),
    pcrPolicy: policy && inCheck('PCR policy file', () => parsePcrPolicy(policy)),
    expectedInstanceId: options.expectedInstanceId,
    ekInstance: options.ekInstance ?? 'prefer',
    demandDocument: options.demandDocument === true,
    demandActivation: options.demandActivation === true,
    allowProvisional: options.allowProvisional === true,
    lastClock: options.lastClock && requireClockRecord(options.lastClock),
    activation: options.activation,
  }
}
