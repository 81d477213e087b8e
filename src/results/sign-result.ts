import type { KeyObject } from 'node:crypto'
import { ES256 } from '../format/algorithms.ts'
import { describe } from '../format/evidence.ts'
import { timeMsOf } from '../format/time.ts'
import type { PublicJwk } from '../format/tpm-key.ts'
import { requireNonce } from '../verify/nonce.ts'
import type { Verified } from '../verify/verified.ts'
import {
  EAR_PROFILE,
  RESULT_PROFILE,
  RESULT_SECONDS_MAX,
  RESULT_SUBMODULE,
  type ResultClaimsJson,
  resultClaimsSchema,
} from './result-claims.ts'
import { encodeCwt } from './result-cwt.ts'
import { encodeJwt } from './result-jwt.ts'
import { signingKeyOf } from './result-key.ts'
import { appraise, worstTier } from './result-vector.ts'

export const RESULT_FORMATS = ['jwt', 'cwt'] as const
export type ResultFormat = (typeof RESULT_FORMATS)[number]

/** How a result is made, and for whom. */
export interface ResultOptions {
  /** Private: a KeyObject, or PEM of PKCS #8. The kind of key decides the algorithm. */
  readonly key: KeyObject | string
  /** JSON Web Token, which it is when left out, or CBOR Web Token. */
  readonly format?: ResultFormat | undefined
  /** The one that the evidence was verified with. */
  readonly nonce: Uint8Array
  readonly now: Date
  /** How long the result is valid: 1 to 86,400, 300 when left out. */
  readonly lifeSeconds?: number | undefined
  /** Who verified, and with what program: up to 256 characters each. */
  readonly verifier: { readonly developer: string; readonly build: string }
  /** Names of the rules that were verified by, besides ours: up to seven. */
  readonly policyIds?: readonly string[] | undefined
}

export const RESULT_SECONDS_DEFAULT = 300
/** The checks of this verifier as such. */
const POLICY_ID = 'tag:metabind.invalid,2026:verify#2'
/** Type RAND (RFC 9711, 4.2.1.1): what follows is a hash of what only this entity has. */
const UEID_RAND = '01'

/**
 * Says what was verified, for others to read: an EAT Attestation Result, signed.
 *
 * @returns a JSON Web Token in compact form, or a CBOR Web Token with its tags
 * @throws VerifyError VERIFY_RESULT_KEY
 * @throws RangeError if `now`, the nonce or the life is none, or a text is too long
 */
export function signResult(verified: Verified, options: ResultOptions): Buffer {
  const encodeToken = options.format === 'cwt' ? encodeCwt : encodeJwt
  return encodeToken(requireReadable(claimsOf(verified, options)), signingKeyOf(options.key))
}

/** What nobody could read is not signed. */
function requireReadable(claims: ResultClaimsJson): ResultClaimsJson {
  const { error } = resultClaimsSchema.safeParse(claims)
  if (error) throw new RangeError(`a result cannot hold this: ${describe(error)}`)
  return claims
}

function claimsOf(verified: Verified, options: ResultOptions): ResultClaimsJson {
  const issued = Math.floor(timeMsOf(options.now) / 1000)
  const { vector, reasons } = appraise(verified.proven)
  const status = worstTier(vector)
  const nonce = requireNonce(options.nonce).toString('base64url')
  return {
    eat_profile: EAR_PROFILE,
    iat: issued,
    exp: issued + lifeOf(options),
    ear_status: status,
    ear_verifier_id: options.verifier,
    eat_nonce: nonce,
    submods: {
      [RESULT_SUBMODULE]: {
        eat_profile: RESULT_PROFILE,
        ear_status: status,
        ear_trustworthiness_vector: vector,
        ear_appraisal_policy_ids: [POLICY_ID, ...(options.policyIds ?? [])],
        eat_nonce: nonce,
        ear_attester_claims: attesterClaimsOf(verified),
        ear_verifier_claims: {
          metabind_proven: verified.proven,
          metabind_not_proven: verified.notProven,
          metabind_reasons: reasons,
        },
      },
    },
  }
}

type AttesterClaims = ResultClaimsJson['submods'][typeof RESULT_SUBMODULE]['ear_attester_claims']

function attesterClaimsOf({ ek, dialect, instanceId, iid, bind, sk }: Verified): AttesterClaims {
  return {
    ueid: Buffer.from(UEID_RAND + ek.spkiSha256, 'hex').toString('base64url'),
    metabind_dialect: dialect,
    metabind_instance_id: instanceId,
    metabind_iid: iid,
    ...(bind === undefined ? {} : { metabind_bound: bind }),
    metabind_sk: p256Of(sk.jwk),
  }
}

/** Verified evidence has no SK of another kind. */
function p256Of(jwk: PublicJwk): AttesterClaims['metabind_sk'] {
  if (jwk.kty !== 'EC' || jwk.crv !== ES256.jwk) throw new RangeError('the SK is no key of P-256')
  return { kty: 'EC', crv: ES256.jwk, x: jwk.x, y: jwk.y }
}

function lifeOf({ lifeSeconds = RESULT_SECONDS_DEFAULT }: ResultOptions): number {
  const isGood =
    Number.isInteger(lifeSeconds) && lifeSeconds >= 1 && lifeSeconds <= RESULT_SECONDS_MAX
  if (!isGood) throw new RangeError(`a result is valid for 1 to ${RESULT_SECONDS_MAX} seconds`)
  return lifeSeconds
}
