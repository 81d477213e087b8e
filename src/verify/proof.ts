import { createPublicKey } from 'node:crypto'
import type { z } from 'zod'
import type { VerifyCode } from '../errors.ts'
import { PROOF_CHARACTERS_MAX } from '../format/proof.ts'
import type { PublicJwk } from '../format/public-jwk.ts'
import { tokenHash } from '../format/token-hash.ts'
import { type CompactJws, isEs256By, parseCompactJws } from './compact-jws.ts'
import { VerifyError } from './verify-error.ts'

/** What proofs of both kinds have in common. */
interface Proof<Header> extends CompactJws {
  readonly header: Header
}

/** Clocks of two machines differ; a proof may seem to be from the future by this much. */
export const SKEW_SECONDS = 60

/** Takes a proof apart. Nothing of it is anybody's before its signature was verified. @throws VerifyError VERIFY_PROOF */
export function readProof<Header>(proof: string, schema: z.ZodType<Header>): Proof<Header> {
  if (proof.length > PROOF_CHARACTERS_MAX) malformed('too long')
  const signed = parseCompactJws(proof, malformed)
  const header = schema.safeParse(signed.header)
  return header.success ? { ...signed, header: header.data } : malformed('another header')
}

/** @throws VerifyError VERIFY_PROOF_SIGNATURE if it is not of this key, VERIFY_PROOF if that is no key */
export function requireSignature(proof: CompactJws, jwk: PublicJwk): void {
  if (!isEs256By(keyOf(jwk), proof)) refuse('VERIFY_PROOF_SIGNATURE')
}

/** @throws VerifyError VERIFY_PROOF */
export function claimsOf<Claims>({ payload }: CompactJws, schema: z.ZodType<Claims>): Claims {
  const claims = schema.safeParse(payload())
  return claims.success ? claims.data : malformed('claims are missing')
}

/** @throws VerifyError VERIFY_PROOF_CLAIMS if a token came with the request and its hash is another */
export function requireHash(claim: string | undefined, token: string | undefined): void {
  if (token === undefined || claim === tokenHash(token)) return
  refuse('VERIFY_PROOF_CLAIMS', claim === undefined ? 'for no token' : 'for another token')
}

function keyOf(jwk: PublicJwk) {
  try {
    return createPublicKey({ key: jwk, format: 'jwk' })
  } catch {
    return malformed('not a point of its curve')
  }
}

function malformed(why: string): never {
  return refuse('VERIFY_PROOF', why)
}

export function refuse(code: VerifyCode, why?: string): never {
  throw new VerifyError(code, 'proof', why === undefined ? undefined : `Found: ${why}.`)
}
