import { createPublicKey } from 'node:crypto'
import { z } from 'zod'
import type { VerifyCode } from '../errors.ts'
import { ES256 } from '../format/algorithms.ts'
import {
  IDENTITY_TOKEN_CHARACTERS_MAX,
  IDENTITY_TOKEN_SECONDS_MAX,
  type IdentityClaims,
  identityClaimsSchema,
} from '../format/identity-token.ts'
import { timeMsOf } from '../format/time.ts'
import type { PublicJwk } from '../format/tpm-key.ts'
import { type CompactJws, isEs256By, parseCompactJws } from './compact-jws.ts'
import { VerifyError } from './verify-error.ts'

/** Clocks of two machines differ; a token may seem to be from the future by this much. */
const SKEW_SECONDS = 60

/** What a token is checked against. All of it is required: a token for somebody else proves nothing. */
export interface ExpectedToken {
  /** The key that signs: `sk.jwk` of a verified evidence. */
  readonly sk: PublicJwk
  readonly audience: string
  /** Of the verified evidence that `sk` is from. */
  readonly instanceId: string
  readonly iid: string
  readonly now: Date
}

/** Other members are refused: `jwk`, `jku` or `crit` would let the token choose how it is checked. */
const headerSchema = z.strictObject({
  alg: z.literal(ES256.name),
  typ: z.literal('JWT').optional(),
  kid: z.string().optional(),
})

/**
 * Verifies an identity token (a JWT signed by the SK of an instance).
 *
 * @returns its claims
 * @throws VerifyError VERIFY_TOKEN, VERIFY_TOKEN_SIGNATURE, VERIFY_TOKEN_CLAIMS
 * @throws RangeError if `now` is no valid date
 */
export function verifyIdentityToken(token: string, expected: ExpectedToken): IdentityClaims {
  const nowSeconds = timeMsOf(expected.now) / 1000
  if (token.length > IDENTITY_TOKEN_CHARACTERS_MAX) malformed('too long')
  const signed = parseCompactJws(token, malformed)
  if (!headerSchema.safeParse(signed.header).success) malformed('another header')
  requireSignature(signed, expected.sk)
  const claims = identityClaimsSchema.safeParse(signed.payload())
  if (!claims.success) return malformed('claims are missing')
  requireClaims(claims.data, expected)
  requireTime(claims.data, nowSeconds)
  return claims.data
}

function requireSignature(signed: CompactJws, sk: PublicJwk): void {
  const key = createPublicKey({ key: sk, format: 'jwk' })
  if (!isEs256By(key, signed)) throw new VerifyError('VERIFY_TOKEN_SIGNATURE', 'identity token')
}

function requireClaims(claims: IdentityClaims, expected: ExpectedToken): void {
  const isOfInstance = claims.sub === expected.instanceId && claims.iid === expected.iid
  if (!isOfInstance) refuse('VERIFY_TOKEN_CLAIMS', 'another instance')
  if (claims.aud !== expected.audience) refuse('VERIFY_TOKEN_CLAIMS', 'another audience')
}

function requireTime(claims: IdentityClaims, nowSeconds: number): void {
  if (claims.exp <= nowSeconds) refuse('VERIFY_TOKEN_CLAIMS', 'expired')
  if (claims.iat > nowSeconds + SKEW_SECONDS) refuse('VERIFY_TOKEN_CLAIMS', 'from the future')
  if ((claims.nbf ?? 0) > nowSeconds + SKEW_SECONDS) refuse('VERIFY_TOKEN_CLAIMS', 'not valid yet')
  if (claims.exp <= claims.iat) refuse('VERIFY_TOKEN_CLAIMS', 'over before it was made')
  if (claims.exp - claims.iat > IDENTITY_TOKEN_SECONDS_MAX) {
    refuse('VERIFY_TOKEN_CLAIMS', 'valid for too long')
  }
}

function malformed(why: string): never {
  return refuse('VERIFY_TOKEN', why)
}

function refuse(code: VerifyCode, why: string): never {
  throw new VerifyError(code, 'identity token', `Found: ${why}.`)
}
