import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { ALG } from './tpm-algorithms.ts'
import { parseSignature } from './tpm-signature.ts'

/** Identity tokens: ES256 JSON Web Tokens (RFC 7515, 7518 3.4, 7519) signed by SK. */

export const IDENTITY_TOKEN_CHARACTERS_MAX = 4096
/** `exp` is at most this long after `iat`. */
export const IDENTITY_TOKEN_SECONDS_MAX = 3600
const HALF_BYTES = 32

export const identityClaimsSchema = z.looseObject({
  iss: z.string(),
  /** The instance id. */
  sub: z.string(),
  aud: z.string(),
  /** Seconds since 1970. */
  iat: z.int().nonnegative(),
  exp: z.int().nonnegative(),
  /** Not made by the agent, and honoured if it stands (RFC 7519, 4.1.5). */
  nbf: z.int().nonnegative().exactOptional(),
  jti: z.string().min(1),
  /** In hex. */
  iid: z.string(),
})
export type IdentityClaims = z.infer<typeof identityClaimsSchema>

/** What the SK signs the SHA-256 of: `base64url(header).base64url(payload)`. */
export function identityTokenInput(claims: IdentityClaims): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ alg: 'ES256', typ: 'JWT' })}.${part(claims)}`
}

/**
 * The token, from its input and the TPMT_SIGNATURE of its digest.
 *
 * @throws MetabindError VERIFY_STRUCTURE if the signature is no ECDSA of P-256 with SHA-256
 */
export function identityTokenOf(input: string, tpmSignature: Uint8Array): string {
  return `${input}.${es256Signature(tpmSignature).toString('base64url')}`
}

/**
 * r and s of a TPMT_SIGNATURE, 32 bytes each: the form of ES256 (RFC 7518 3.4) and of IEEE P1363. A
 * TPM may have left leading zeros out.
 *
 * @throws MetabindError VERIFY_STRUCTURE if the signature is no ECDSA of P-256 with SHA-256
 */
export function es256Signature(tpmSignature: Uint8Array): Buffer {
  const signature = parseSignature(tpmSignature)
  const fits =
    signature.algorithm === ALG.ECDSA &&
    signature.hash === ALG.SHA256 &&
    signature.r.length <= HALF_BYTES &&
    signature.s.length <= HALF_BYTES
  if (!fits) throw new MetabindError('VERIFY_STRUCTURE', 'TPMT_SIGNATURE: not for ES256.')
  const halves = Buffer.alloc(2 * HALF_BYTES)
  signature.r.copy(halves, HALF_BYTES - signature.r.length)
  signature.s.copy(halves, 2 * HALF_BYTES - signature.s.length)
  return halves
}
