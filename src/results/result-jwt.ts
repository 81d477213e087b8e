import { z } from 'zod'
import { jwsInput, jwsOf } from '../format/jws.ts'
import { parseCompactJws } from '../verify/compact-jws.ts'
import type { ResultClaimsJson } from './result-claims.ts'
import type { ResultKey } from './result-key.ts'
import { signatureBy } from './result-signature.ts'
import { malformed, type SignedResult } from './signed-result.ts'

/** Attestation results as JSON Web Tokens (RFC 7519) in compact form (RFC 7515, 3.1). */

/** `application/eat+jwt` (RFC 9782): no token of another kind has this type (RFC 8725, 3.11). */
const TYPE = 'eat+jwt'

/** Other members are refused: `jwk`, `jku` or `crit` would let the token choose how it is checked. */
const headerSchema = z.strictObject({
  alg: z.string(),
  typ: z.literal(TYPE),
  kid: z.string().max(256).optional(),
})

export function encodeJwt(claims: ResultClaimsJson, key: ResultKey): Buffer {
  const header = { alg: key.algorithm.name, typ: TYPE, kid: key.id.toString('base64url') }
  const input = jwsInput(header, claims)
  const signature = signatureBy(key, Buffer.from(input))
  return Buffer.from(jwsOf(input, signature))
}

/** Takes a token apart; its claims are nobody's before its signature was verified. @throws VerifyError VERIFY_RESULT */
export function parseJwt(bytes: Buffer): SignedResult {
  const { header, signedText, signature, payload } = parseCompactJws(
    bytes.toString('latin1'),
    malformed,
  )
  const head = headerSchema.safeParse(header)
  if (!head.success) return malformed('another header')
  const { alg } = head.data
  return {
    isOfAlgorithm: ({ name }) => name === alg,
    signedBytes: Buffer.from(signedText),
    signature,
    claims: payload,
  }
}
