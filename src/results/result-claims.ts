import { z } from 'zod'
import { ES256 } from '../format/algorithms.ts'
import { NONCE_BYTES_MAX, NONCE_BYTES_MIN } from '../format/evidence.ts'
import { base64urlBytes, hexBytes } from '../format/json-codec.ts'
import {
  TRUST_CATEGORIES,
  TRUST_TIERS,
  type TrustCategory,
  type TrustTier,
} from './result-vector.ts'

/**
 * The claims of an EAT Attestation Result (draft-ietf-rats-ear-04) as JSON has them. Unknown claims are ignored,
 * as the draft demands; attesters beside ours are refused, as nobody would look at them.
 */

export const EAR_PROFILE = 'tag:ietf.org,2026:rats/ear#04'
/** Of our own claims in it. */
export const RESULT_PROFILE = 'tag:metabind.invalid,2026:result#1'
/** The one attester of a result. */
export const RESULT_SUBMODULE = 'metabind'
/** `exp` is at most this long after `iat`. */
export const RESULT_SECONDS_MAX = 86_400

const UEID_BYTES = 33
const text = z.string().min(1).max(256)
const seconds = z.int().nonnegative()
const nonce = base64urlBytes(NONCE_BYTES_MIN, NONCE_BYTES_MAX)
const tier = z.enum(Object.keys(TRUST_TIERS) as TrustTier[])
const category = z.enum(Object.keys(TRUST_CATEGORIES) as TrustCategory[])
// Of claims that a newer verifier names, a reader needs no list.
const claimNames = z
  .array(z.string().regex(/^[a-z0-9-]{1,64}$/))
  .max(64)
  .readonly()
const coordinate = z.string().regex(/^[A-Za-z0-9_-]{43}$/)

const appraisalSchema = z.object({
  eat_profile: z.literal(RESULT_PROFILE),
  ear_status: tier,
  ear_trustworthiness_vector: z.partialRecord(category, z.int().min(-128).max(127)),
  ear_appraisal_policy_ids: z.array(text).min(1).max(8).readonly(),
  eat_nonce: nonce,
  /** What the attester says, as far as it was found to be true. */
  ear_attester_claims: z.object({
    ueid: base64urlBytes(UEID_BYTES, UEID_BYTES),
    metabind_dialect: z.string().regex(/^[a-z0-9-]{1,32}$/),
    metabind_instance_id: z.string().regex(/^[A-Za-z0-9._-]{1,128}$/),
    metabind_iid: hexBytes(16, 16),
    metabind_bound: hexBytes(1, 64).optional(),
    metabind_sk: z.strictObject({
      kty: z.literal('EC'),
      crv: z.literal(ES256.jwk),
      x: coordinate,
      y: coordinate,
    }),
  }),
  /** What the verifier adds. */
  ear_verifier_claims: z.object({
    metabind_proven: claimNames,
    metabind_not_proven: claimNames,
    metabind_reasons: z.partialRecord(category, claimNames),
  }),
})

export const resultClaimsSchema = z.object({
  eat_profile: z.literal(EAR_PROFILE),
  iat: seconds,
  exp: seconds,
  nbf: seconds.optional(),
  ear_status: tier,
  ear_verifier_id: z.object({ developer: text, build: text }),
  eat_nonce: nonce,
  submods: z.strictObject({ [RESULT_SUBMODULE]: appraisalSchema }),
})

/** The claims, bytes decoded. */
export type ResultClaims = z.output<typeof resultClaimsSchema>
/** The claims as JSON has them. */
export type ResultClaimsJson = z.input<typeof resultClaimsSchema>
