import { z } from 'zod'
import { ES256 } from './algorithms.ts'
import { jwsInput } from './jws.ts'

/** Identity tokens: ES256 JSON Web Tokens (RFC 7515, 7518 3.4, 7519) signed by SK. */

export const IDENTITY_TOKEN_CHARACTERS_MAX = 4096
/** `exp` is at most this long after `iat`. */
export const IDENTITY_TOKEN_SECONDS_MAX = 3600
/** Names of systemd's units: unit_name_is_valid() of systemd. */
const UNIT = /^[A-Za-z0-9:_.\\@-]{1,255}$/

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
  /** Who asked for it on the instance, by the word of its agent: neither the TPM nor the cloud knows. */
  uid: z.int().nonnegative().exactOptional(),
  /** The system unit that they ran in; absent if in none. */
  unit: z.string().regex(UNIT).exactOptional(),
})
export type IdentityClaims = z.infer<typeof identityClaimsSchema>

/** What the SK signs the SHA-256 of: `base64url(header).base64url(payload)`. */
export function identityTokenInput(claims: IdentityClaims): string {
  return jwsInput({ alg: ES256.name, typ: 'JWT' }, claims)
}
