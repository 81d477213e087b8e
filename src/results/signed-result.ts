import type { SignatureAlgorithm } from '../format/algorithms.ts'
import { VerifyError } from '../verify/verify-error.ts'

/** A token taken apart. Nothing in it is believed yet. */
export interface SignedResult {
  /** Whether its header names this algorithm. */
  readonly isOfAlgorithm: (algorithm: SignatureAlgorithm) => boolean
  readonly signedBytes: Uint8Array
  readonly signature: Uint8Array
  /** Decodes the claims, as JSON has them. Call it when the signature was verified. */
  readonly claims: () => unknown
}

/** @throws VerifyError VERIFY_RESULT */
export function malformed(why: string, cause?: unknown): never {
  throw new VerifyError('VERIFY_RESULT', 'attestation result', `Found: ${why}.`, cause)
}
