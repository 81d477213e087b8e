import { z } from 'zod'
import { ES256 } from './algorithms.ts'
import { jwsInput } from './jws.ts'
import type { PublicJwk } from './public-jwk.ts'

/**
 * Proofs that whoever sends a request has the key that its token is bound to, signed by SK: DPoP proofs (RFC 9449, 4.2)
 * and Workload Proof Tokens (draft-ietf-wimse-wpt-02). Both are JSON Web Tokens of types of their own, so that none
 * passes for an identity token, nor one of them for the other (RFC 8725, 3.11).
 */

const DPOP_TYPE = 'dpop+jwt'
const WPT_TYPE = 'wpt+jwt'
export const PROOF_CHARACTERS_MAX = 8192

/** 32 bytes in base64url, in the one spelling that they have. */
const BYTES_32 = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/
export const sha256Text = z.string().regex(BYTES_32, 'must be a SHA-256 in base64url')
/** `nonce-syntax` (RFC 9449, 8.1), with a bound of our own. */
export const nonceText = z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,1024}$/, 'must be a nonce')
/** Methods have capital letters here; HTTP allows more (RFC 9110, 9.1), and nobody uses it. */
export const methodText = z
  .string()
  .regex(/^[A-Z]{1,20}(?:-[A-Z]{1,20})?$/, 'must be a method such as GET')

/** A public key of P-256 as JSON Web Key; other members but a private one are let stand. */
const p256Jwk = z
  .looseObject({
    kty: z.literal('EC'),
    crv: z.literal(ES256.jwk),
    x: sha256Text,
    y: sha256Text,
  })
  .refine((jwk) => !('d' in jwk), 'must be no private key')

export const dpopHeaderSchema = z.strictObject({
  typ: z.literal(DPOP_TYPE),
  alg: z.literal(ES256.name),
  jwk: p256Jwk,
  kid: z.string().optional(),
})
export const wptHeaderSchema = z.strictObject({
  typ: z.literal(WPT_TYPE),
  alg: z.literal(ES256.name),
  kid: z.string().optional(),
})

const jti = z.string().min(1).max(256)

export const dpopClaimsSchema = z.looseObject({
  jti,
  /** The method of the request, and its URI without query and fragment. */
  htm: z.string().min(1).max(64),
  htu: z.string().min(1),
  /** Seconds since 1970. */
  iat: z.number().nonnegative(),
  /** Hash of the access token that the proof is for. */
  ath: z.string().exactOptional(),
  nonce: z.string().exactOptional(),
})
export type DpopClaims = z.infer<typeof dpopClaimsSchema>

export const wptClaimsSchema = z.looseObject({
  jti,
  /** The URI of the request, without query and fragment; or what the service calls itself. */
  aud: z.string().min(1),
  /** Seconds since 1970. */
  exp: z.number().nonnegative(),
  /** Hashes of the Workload Identity Token, of an access token and of a transaction token beside it. */
  wth: z.string(),
  ath: z.string().exactOptional(),
  tth: z.string().exactOptional(),
  /** Of other tokens, by the name of their header. */
  oth: z.record(z.string(), z.string()).exactOptional(),
})
export type WptClaims = z.infer<typeof wptClaimsSchema>

/** What the SK signs the SHA-256 of, as of identity tokens. */
export function dpopInput(jwk: PublicJwk, claims: DpopClaims): string {
  return jwsInput({ typ: DPOP_TYPE, alg: ES256.name, jwk }, claims)
}

export function wptInput(claims: WptClaims): string {
  return jwsInput({ typ: WPT_TYPE, alg: ES256.name }, claims)
}
