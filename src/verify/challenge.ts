import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { type Answer, type Challenge, type KeptSecret, SECRET_BYTES } from '../format/activation.ts'
import { timeMsOf } from '../format/time.ts'
import { makeCredential } from './make-credential.ts'
import type { FinishedActivation, Subject } from './subject.ts'
import { describeVerified, type Verified } from './verified.ts'
import { type VerifyOptions, verifiedSubject } from './verify.ts'
import { VerifyError } from './verify-error.ts'

/**
 * The verifier's two steps of credential activation. It proves that the AK, by its very Name, is in
 * the TPM that holds the endorsement key: without it, software could have made up an AK next to a
 * genuine EK certificate.
 */

/** A challenge that nobody answered in this time is over. */
export const CHALLENGE_LIFE_MS = 3_600_000

interface MadeChallenge {
  readonly challenge: Challenge
  readonly kept: KeptSecret
}

/**
 * Verifies evidence and makes a challenge for its keys. Every check of the evidence comes first, so
 * that no credential is made for a key of other attributes, and the secret and id are new each time.
 *
 * @returns the challenge for the instance, and the secret, which stays here
 * @throws VerifyError, RangeError as verifyEvidence does
 */
export function makeChallenge(evidence: Uint8Array, options: VerifyOptions): MadeChallenge {
  const digest = createHash('sha256').update(evidence).digest()
  return challengeOf(verifiedSubject(evidence, unanswered(options)), digest)
}

/** The activation that evidence lacks, and that the caller may demand, is what a challenge is for. */
export function unanswered(options: VerifyOptions): VerifyOptions {
  return { ...options, demandActivation: false, activation: undefined, allowProvisional: true }
}

/**
 * The same for evidence that was verified already.
 *
 * @param subject what every check has passed
 * @param digest SHA-256 of the document
 */
export function challengeOf({ ek, ak, demands }: Subject, digest: Buffer): MadeChallenge {
  const secret = randomBytes(SECRET_BYTES)
  const id = randomBytes(16)
  const names = { ekName: ek.name, akName: ak.name }
  const blobs = makeCredential(ek.public, ak.name, secret)
  return {
    challenge: { format: 'metabind challenge', version: 1, id, ...names, ...blobs },
    kept: {
      format: 'metabind challenge secret',
      version: 1,
      id,
      ...names,
      evidence: digest,
      secret,
      expiresAtMs: demands.now.getTime() + CHALLENGE_LIFE_MS,
    },
  }
}

/** What evidence proves once the challenge that was made for it is answered. */
export function provenOnceAnswered(subject: Subject): Verified {
  const activation = { ekName: subject.ek.name, akName: subject.ak.name }
  return describeVerified({ ...subject, demands: { ...subject.demands, activation } })
}

/**
 * Compares an answer with the secret that was kept. Use a secret once: forget it afterwards.
 *
 * @returns what verifyEvidence takes as `activation`
 * @throws VerifyError VERIFY_CHALLENGE, VERIFY_CHALLENGE_EXPIRED, VERIFY_ACTIVATION
 * @throws RangeError if `now`, or the time in `kept`, is none
 */
export function finishChallenge(answer: Answer, kept: KeptSecret, now: Date): FinishedActivation {
  const nowMs = timeMsOf(now)
  if (!Number.isSafeInteger(kept.expiresAtMs)) throw new RangeError('expiresAtMs is no time')
  if (!answer.id.equals(kept.id)) throw new VerifyError('VERIFY_CHALLENGE', 'activation')
  if (nowMs > kept.expiresAtMs) {
    throw new VerifyError('VERIFY_CHALLENGE_EXPIRED', 'activation')
  }
  const isRight =
    answer.secret.length === kept.secret.length && timingSafeEqual(answer.secret, kept.secret)
  if (!isRight) throw new VerifyError('VERIFY_ACTIVATION', 'activation')
  return { ekName: kept.ekName, akName: kept.akName }
}
