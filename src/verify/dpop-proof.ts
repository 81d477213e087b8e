import { comparableUri } from '../format/http-uri.ts'
import { type DpopClaims, dpopClaimsSchema, dpopHeaderSchema } from '../format/proof.ts'
import { jwkThumbprint, type PublicJwk } from '../format/public-jwk.ts'
import { timeMsOf } from '../format/time.ts'
import {
  claimsOf,
  readProof,
  refuse,
  requireHash,
  requireSignature,
  SKEW_SECONDS,
} from './proof.ts'

/** What a DPoP proof is checked against: the request that it came with. */
export interface ExpectedDpopProof {
  readonly method: string
  /** Of the request, as your service is known from outside. Query and fragment count for nothing. */
  readonly url: string
  readonly now: Date
  /** The access token of the request, and the thumbprint that it is bound to (`cnf.jkt`). Left out where tokens are asked for. */
  readonly token?: { readonly value: string; readonly jkt: string }
  /** The nonces that you gave out and still take, if you do (RFC 9449, 8 and 9). */
  readonly nonces?: readonly string[]
  /** How old a proof may be, in seconds; 60 if absent. */
  readonly ageSecondsMax?: number
}

/** A proof that holds. Whether it came before is for you to see: remember `jti` with `jkt` until `rememberUntil`. */
export interface VerifiedDpopProof {
  /** Thumbprint of the key that signed (RFC 7638): what a token is bound to. */
  readonly jkt: string
  readonly jwk: PublicJwk
  readonly jti: string
  readonly claims: DpopClaims
  readonly rememberUntil: Date
}

const AGE_SECONDS_MAX = 60

/**
 * Verifies a DPoP proof (RFC 9449, 4.3) by ES256, which is what the SK of an instance signs with. That there was one
 * header DPoP in the request, and that the proof was not used before, is for the caller to see.
 *
 * @throws VerifyError VERIFY_PROOF, VERIFY_PROOF_SIGNATURE, VERIFY_PROOF_CLAIMS, VERIFY_PROOF_NONCE
 * @throws RangeError if `now` is no valid date, or `url` no URL of HTTP
 */
export function verifyDpopProof(proof: string, expected: ExpectedDpopProof): VerifiedDpopProof {
  const nowSeconds = timeMsOf(expected.now) / 1000
  const url = comparableUri(expected.url)
  if (url === undefined) throw new RangeError('url is no URL of HTTP')
  const read = readProof(proof, dpopHeaderSchema)
  const { kty, crv, x, y } = read.header.jwk
  const jwk = { kty, crv, x, y }
  requireSignature(read, jwk)
  const claims = claimsOf(read, dpopClaimsSchema)
  if (claims.htm !== expected.method) refuse('VERIFY_PROOF_CLAIMS', 'another method')
  if (comparableUri(claims.htu) !== url) refuse('VERIFY_PROOF_CLAIMS', 'another URL')
  const ageSecondsMax = expected.ageSecondsMax ?? AGE_SECONDS_MAX
  requireAge(claims.iat, nowSeconds, ageSecondsMax)
  const jkt = jwkThumbprint(jwk)
  if (expected.token !== undefined && expected.token.jkt !== jkt) {
    refuse('VERIFY_PROOF_CLAIMS', 'another key than the token is bound to')
  }
  requireHash(claims.ath, expected.token?.value)
  requireNonce(claims.nonce, expected.nonces)
  const rememberUntil = new Date((claims.iat + ageSecondsMax) * 1000)
  return { jkt, jwk, jti: claims.jti, claims, rememberUntil }
}

function requireAge(iat: number, nowSeconds: number, ageSecondsMax: number): void {
  if (!(iat >= nowSeconds - ageSecondsMax)) refuse('VERIFY_PROOF_CLAIMS', 'too old')
  if (!(iat <= nowSeconds + SKEW_SECONDS)) refuse('VERIFY_PROOF_CLAIMS', 'from the future')
}

/** Last: only a proof that holds otherwise is told what nonce to have. */
function requireNonce(nonce: string | undefined, nonces: readonly string[] | undefined): void {
  if (nonces === undefined) return
  if (nonce === undefined || !nonces.includes(nonce)) refuse('VERIFY_PROOF_NONCE')
}
