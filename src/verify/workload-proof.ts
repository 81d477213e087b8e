import { comparableUri } from '../format/http-uri.ts'
import { type WptClaims, wptClaimsSchema, wptHeaderSchema } from '../format/proof.ts'
import type { PublicJwk } from '../format/public-jwk.ts'
import { timeMsOf } from '../format/time.ts'
import {
  claimsOf,
  readProof,
  refuse,
  requireHash,
  requireSignature,
  SKEW_SECONDS,
} from './proof.ts'

/** What a Workload Proof Token is checked against: the request that it came with, whose Workload Identity Token was verified. */
export interface ExpectedWorkloadProof {
  /** The Workload Identity Token of the request, as it came. */
  readonly identityToken: string
  /** `cnf.jwk` of that token, once its issuer's signature was verified. */
  readonly jwk: PublicJwk
  /** The URL of the request as your service is known from outside, or what it calls itself. */
  readonly audience: string
  readonly now: Date
  /** Of the request, if it came with one. */
  readonly accessToken?: string
  readonly transactionToken?: string
  /** Other headers that hold tokens, by their names in small letters: a proof that names another is refused. */
  readonly otherTokens?: Readonly<Record<string, string>>
  /** How far ahead `exp` may be, in seconds; 300 if absent. */
  readonly lifetimeSecondsMax?: number
}

/** A proof that holds. Whether it came before is for you to see: remember `jti` with the key until `rememberUntil`. */
export interface VerifiedWorkloadProof {
  readonly jti: string
  readonly claims: WptClaims
  readonly rememberUntil: Date
}

const LIFETIME_SECONDS_MAX = 300

/**
 * Verifies a Workload Proof Token (draft-ietf-wimse-wpt-02, 2) by ES256. It names no method: whoever sees it in time
 * could send it with another one. That there was one header of it, and that it was not used before, is for the caller to see.
 *
 * @throws VerifyError VERIFY_PROOF, VERIFY_PROOF_SIGNATURE, VERIFY_PROOF_CLAIMS
 * @throws RangeError if `now` is no valid date
 */
export function verifyWorkloadProof(
  proof: string,
  expected: ExpectedWorkloadProof,
): VerifiedWorkloadProof {
  const nowSeconds = timeMsOf(expected.now) / 1000
  const read = readProof(proof, wptHeaderSchema)
  requireSignature(read, expected.jwk)
  const claims = claimsOf(read, wptClaimsSchema)
  if (!isSameAudience(claims.aud, expected.audience)) {
    refuse('VERIFY_PROOF_CLAIMS', 'another audience')
  }
  const lifetimeSecondsMax = expected.lifetimeSecondsMax ?? LIFETIME_SECONDS_MAX
  if (!(claims.exp > nowSeconds)) refuse('VERIFY_PROOF_CLAIMS', 'expired')
  if (!(claims.exp <= nowSeconds + lifetimeSecondsMax + SKEW_SECONDS)) {
    refuse('VERIFY_PROOF_CLAIMS', 'valid for too long')
  }
  requireHash(claims.wth, expected.identityToken)
  requireHash(claims.ath, expected.accessToken)
  requireHash(claims.tth, expected.transactionToken)
  requireOthers(claims.oth ?? {}, expected.otherTokens ?? {})
  return { jti: claims.jti, claims, rememberUntil: new Date(claims.exp * 1000) }
}

/** URLs are compared as such; anything else letter by letter. */
function isSameAudience(claim: string, expected: string): boolean {
  if (claim === expected) return true
  const url = comparableUri(expected)
  return url !== undefined && comparableUri(claim) === url
}

/** Each token that the proof names has to be there, and each that is there has to be named. */
function requireOthers(
  claimed: Readonly<Record<string, string>>,
  others: Readonly<Record<string, string>>,
): void {
  for (const name of Object.keys(claimed)) {
    if (!Object.hasOwn(others, name)) refuse('VERIFY_PROOF_CLAIMS', 'for a token that is not here')
  }
  for (const [name, token] of Object.entries(others)) {
    requireHash(Object.hasOwn(claimed, name) ? claimed[name] : undefined, token.trim())
  }
}
