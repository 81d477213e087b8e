import { createHash } from 'node:crypto'
import { MetabindError } from '../errors.ts'
import { jwkThumbprint, type PublicJwk } from '../format/public-jwk.ts'
import { type VerifiedDpopProof, verifyDpopProof } from '../verify/dpop-proof.ts'
import { VerifyError } from '../verify/verify-error.ts'
import { DPOP_NONCE_LIFE_MS, type DpopNonces } from './dpop-nonce.ts'

/** Proofs of RFC 9449 by the SK of an instance. */

export const DPOP_ALGORITHMS = ['ES256'] as const
/** Clocks of two machines differ, and the nonce says when the proof was made at the earliest. */
const AGE_SECONDS_MAX = DPOP_NONCE_LIFE_MS / 1000 + 60

export interface ExpectedProof {
  readonly method: string
  /** Of the request. */
  readonly url: string
  /** The key that must have signed: that of the identity token. */
  readonly sk: PublicJwk
  readonly nonces: Pick<DpopNonces, 'issuedAtMs'>
  readonly nowMs: number
}

/** A proof that holds, and what is remembered of it so that it is never taken again. */
export interface HeldProof {
  /** Thumbprint of the key (RFC 7638). */
  readonly jkt: string
  /** 64 hexadecimal digits. */
  readonly id: string
  /** When its nonce is over, and with it the proof. */
  readonly expiresAtMs: number
}

/**
 * The checks of RFC 9449, 4.3 at the token endpoint, but for replay, which is the repository's to see.
 *
 * @param proofs the values of all DPoP header fields
 * @throws MetabindError REGISTRAR_DPOP, REGISTRAR_DPOP_NONCE
 */
export function requireProofOfSk(proofs: readonly string[], expected: ExpectedProof): HeldProof {
  const [proof = '', ...others] = proofs
  if (others.length > 0) throw new MetabindError('REGISTRAR_DPOP', 'more than one.')
  const { jkt, jti, claims } = verified(proof, expected)
  if (jkt !== jwkThumbprint(expected.sk)) throw new MetabindError('REGISTRAR_DPOP', 'not by SK.')
  const madeAtMs = expected.nonces.issuedAtMs(claims.nonce ?? '', expected.nowMs)
  const id = createHash('sha256').update(`dpop ${jkt} ${jti}`).digest('hex')
  return { jkt, id, expiresAtMs: madeAtMs + DPOP_NONCE_LIFE_MS + 1 }
}

function verified(proof: string, { method, url, nowMs }: ExpectedProof): VerifiedDpopProof {
  const now = new Date(nowMs)
  try {
    return verifyDpopProof(proof, { method, url, now, ageSecondsMax: AGE_SECONDS_MAX })
  } catch (error) {
    if (error instanceof VerifyError) throw new MetabindError('REGISTRAR_DPOP', undefined, error)
    throw error
  }
}
