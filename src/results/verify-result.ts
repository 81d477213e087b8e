import type { KeyObject } from 'node:crypto'
import { SIGNATURE_ALGORITHMS } from '../format/algorithms.ts'
import { describe } from '../format/evidence.ts'
import { timeMsOf } from '../format/time.ts'
import type { PublicJwk } from '../format/tpm-key.ts'
import { VerifyError } from '../verify/verify-error.ts'
import {
  RESULT_SECONDS_MAX,
  RESULT_SUBMODULE,
  type ResultClaims,
  resultClaimsSchema,
} from './result-claims.ts'
import { CWT_FIRST_BYTE, parseCwt } from './result-cwt.ts'
import { parseJwt } from './result-jwt.ts'
import { type ResultKey, verifyingKeyOf } from './result-key.ts'
import { isSignatureBy } from './result-signature.ts'
import { type TrustCategory, type TrustTier, type TrustVector, worstTier } from './result-vector.ts'
import { malformed, type SignedResult } from './signed-result.ts'

/** What a result is checked against. All comes from the caller: no clock, file or network. */
export interface ResultDemands {
  /** Of the verifiers that you believe, 1 to 16: public, each a KeyObject or PEM of SubjectPublicKeyInfo. */
  readonly keys: readonly (KeyObject | string)[]
  /** What you gave for the evidence: 16 to 64 random bytes, used once. */
  readonly nonce: Uint8Array
  readonly now: Date
  readonly expectedInstanceId?: string | undefined
  /** Bytes that must have been bound: refuses a result of evidence in which others were, or none. */
  readonly bind?: Uint8Array | undefined
  /** Accepts a result that asserts nothing, of provisional evidence. */
  readonly allowProvisional?: boolean | undefined
}

/** What a verifier says of an instance, and until when. Byte strings are in hex. */
export interface VerifiedResult {
  /** `none` only if `allowProvisional` was given. */
  readonly status: 'affirming' | 'none'
  readonly issuedAt: Date
  readonly expiresAt: Date
  readonly verifier: { readonly developer: string; readonly build: string }
  readonly policyIds: readonly string[]
  /** Names the TPM: 01, then the SHA-256 of the EK's SubjectPublicKeyInfo. */
  readonly ueid: string
  readonly dialect: string
  /** The agent's word, unless `instance-from-cloud` or `instance-from-ek` is proven. */
  readonly instanceId: string
  readonly iid: string
  /** What was bound. Undefined if nothing was. */
  readonly bind: string | undefined
  /** The key that signs identity tokens of the instance: for verifyIdentityToken. */
  readonly sk: { readonly jwk: PublicJwk }
  /** Values of AR4SI, and for each the claims that led to it: of a 0 those that were lacking. */
  readonly vector: TrustVector
  readonly reasons: Readonly<Partial<Record<TrustCategory, readonly string[]>>>
  readonly proven: readonly string[]
  readonly notProven: readonly string[]
}

// ML-DSA's signature is 4.4 KB of text; the claims that can be are 6 KB.
const RESULT_BYTES_MAX = 16 * 1024
const KEYS_MAX = 16
/** Clocks of two machines differ; a result may seem to be from the future by this much. */
const SKEW_SECONDS = 60

/**
 * Verifies what signResult made. Its first byte says which of the two forms it has.
 *
 * @param result of any origin
 * @throws VerifyError VERIFY_RESULT, VERIFY_RESULT_SIGNATURE, VERIFY_RESULT_CLAIMS, VERIFY_PROVISIONAL,
 *   VERIFY_RESULT_KEY for a key of yours
 * @throws RangeError if there is no key, or `now` is no valid date
 */
export function verifyResult(result: Uint8Array | string, demands: ResultDemands): VerifiedResult {
  const nowSeconds = timeMsOf(demands.now) / 1000
  const keys = keysOf(demands)
  const bytes = Buffer.from(result)
  if (bytes.length > RESULT_BYTES_MAX) malformed('too long')
  const signed = bytes[0] === CWT_FIRST_BYTE ? parseCwt(bytes) : parseJwt(bytes)
  requireSignature(signed, keys)
  const claims = claimsOf(signed)
  requireTime(claims, nowSeconds)
  requireDemanded(claims, demands)
  return describeResult(claims, requireStatus(claims, demands))
}

function keysOf({ keys }: ResultDemands): readonly ResultKey[] {
  if (keys.length < 1 || keys.length > KEYS_MAX) throw new RangeError(`give 1 to ${KEYS_MAX} keys`)
  return keys.map(verifyingKeyOf)
}

/** The algorithm is that of a key, whatever the header says; the header has to say the same. */
function requireSignature(signed: SignedResult, keys: readonly ResultKey[]): void {
  const fitting = keys.filter(({ algorithm }) => signed.isOfAlgorithm(algorithm))
  if (fitting.length === 0) refuseAlgorithm(signed, keys)
  const isSigned = fitting.some((key) => isSignatureBy(key, signed.signedBytes, signed.signature))
  if (!isSigned) throw new VerifyError('VERIFY_RESULT_SIGNATURE', 'attestation result')
}

/** That of a key which was not given is a slip of whoever gives keys. No other one is any of ours. */
function refuseAlgorithm(signed: SignedResult, keys: readonly ResultKey[]): never {
  const named = SIGNATURE_ALGORITHMS.find((one) => signed.isOfAlgorithm(one))
  if (named === undefined) return malformed('an algorithm that signs no results')
  const given = [...new Set(keys.map(({ algorithm }) => algorithm.name))].join(', ')
  const detail = `Found: it says ${named.name}, and the keys that were given are of ${given}.`
  throw new VerifyError('VERIFY_RESULT_SIGNATURE', 'attestation result', detail)
}

function claimsOf(signed: SignedResult): ResultClaims {
  const claims = resultClaimsSchema.safeParse(signed.claims())
  if (!claims.success) throw new VerifyError('VERIFY_RESULT', 'claims', describe(claims.error))
  return claims.data
}

function requireTime({ iat, exp, nbf = 0 }: ResultClaims, nowSeconds: number): void {
  if (exp <= nowSeconds) refuse('expired')
  if (iat > nowSeconds + SKEW_SECONDS) refuse('from the future')
  if (nbf > nowSeconds + SKEW_SECONDS) refuse('not valid yet')
  if (exp <= iat) refuse('over before it was made')
  if (exp - iat > RESULT_SECONDS_MAX) refuse('valid for too long')
}

function requireDemanded(claims: ResultClaims, demands: ResultDemands): void {
  const { eat_nonce: evidenceNonce, ear_attester_claims: attester } = appraisalIn(claims)
  const { nonce, bind, expectedInstanceId } = demands
  const isForNonce = claims.eat_nonce.equals(nonce) && evidenceNonce.equals(nonce)
  if (!isForNonce) refuse('another nonce')
  const isOfInstance =
    expectedInstanceId === undefined || attester.metabind_instance_id === expectedInstanceId
  if (!isOfInstance) refuse('another instance')
  const isBound = bind === undefined || attester.metabind_bound?.equals(bind) === true
  if (!isBound) refuse('other bytes bound, or none')
}

/** A status that says more than its vector is no result of ours, and neither is one that warns. */
function requireStatus(
  claims: ResultClaims,
  { allowProvisional }: ResultDemands,
): VerifiedResult['status'] {
  const { ear_status: status, ear_trustworthiness_vector: vector } = appraisalIn(claims)
  const worst: TrustTier = worstTier(vector)
  if (status !== worst || claims.ear_status !== worst)
    malformed('a status that is not its vector’s')
  if (status !== 'affirming' && status !== 'none') malformed('a status that is none of ours')
  if (status === 'none' && allowProvisional !== true) {
    throw new VerifyError('VERIFY_PROVISIONAL', 'attestation result')
  }
  return status
}

function appraisalIn(claims: ResultClaims) {
  return claims.submods[RESULT_SUBMODULE]
}

function describeResult(claims: ResultClaims, status: VerifiedResult['status']): VerifiedResult {
  const appraisal = appraisalIn(claims)
  const attester = appraisal.ear_attester_claims
  const verifier = appraisal.ear_verifier_claims
  return {
    status,
    issuedAt: new Date(claims.iat * 1000),
    expiresAt: new Date(claims.exp * 1000),
    verifier: claims.ear_verifier_id,
    policyIds: appraisal.ear_appraisal_policy_ids,
    ueid: attester.ueid.toString('hex'),
    dialect: attester.metabind_dialect,
    instanceId: attester.metabind_instance_id,
    iid: attester.metabind_iid.toString('hex'),
    bind: attester.metabind_bound?.toString('hex'),
    sk: { jwk: attester.metabind_sk },
    vector: appraisal.ear_trustworthiness_vector,
    reasons: verifier.metabind_reasons,
    proven: verifier.metabind_proven,
    notProven: verifier.metabind_not_proven,
  }
}

function refuse(why: string): never {
  throw new VerifyError('VERIFY_RESULT_CLAIMS', 'attestation result', `Found: ${why}.`)
}
