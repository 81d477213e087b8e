import { MetabindError } from '../errors.ts'
import { type PcrPolicy, parsePcrPolicy, requirePolicySize } from './pcr-policy.ts'
import { hasSigned, signingKeyIn } from './signing-key.ts'

/** A policy file, and what it must be to be in force. */
export interface PolicyFile {
  /** A PCR policy (docs/verify.md), which what was measured must satisfy. */
  readonly pcrPolicy?: Uint8Array | undefined
  /** A signature over the bytes of the file, as `openssl dgst -sign` makes it. */
  readonly pcrPolicySignature?: Uint8Array | undefined
  /** The public key that must have made the signature, as PEM: RSA, P-256, P-384, P-521 or Ed25519. */
  readonly pcrPolicyKey?: Uint8Array | undefined
  /** Refuses policies of a lower revision, and those that have none. */
  readonly pcrPolicyRevisionMin?: number | undefined
}

/**
 * Reads the policy if it is signed as demanded, in force, and not given up for a later one.
 *
 * @throws MetabindError VERIFY_POLICY_SIGNATURE, VERIFY_PCR_POLICY_FILE, VERIFY_POLICY_TIME, VERIFY_POLICY_REVISION
 */
export function parseTrustedPolicy(file: PolicyFile, nowMs: number): PcrPolicy | undefined {
  const { pcrPolicy, pcrPolicyRevisionMin = 0 } = file
  requireSigned(file)
  if (pcrPolicy === undefined) {
    if (pcrPolicyRevisionMin > 0) refuse('VERIFY_POLICY_REVISION', 'There is no policy.')
    return undefined
  }
  const policy = parsePcrPolicy(pcrPolicy)
  requireInForce(policy, nowMs)
  requireRevision(policy.revision, pcrPolicyRevisionMin)
  return policy
}

/** @throws MetabindError VERIFY_POLICY_REVISION if a policy of a later revision was in use */
export function requireRevision(revision: number, revisionMin: number): void {
  if (revision >= revisionMin) return
  const found = revision === 0 ? 'none' : `revision ${revision}`
  refuse('VERIFY_POLICY_REVISION', `Expected: revision ${revisionMin} or later. Found: ${found}.`)
}

function requireSigned({ pcrPolicy, pcrPolicySignature, pcrPolicyKey }: PolicyFile): void {
  if (pcrPolicyKey === undefined) {
    // Nobody gives a signature that nobody looks at.
    if (pcrPolicySignature !== undefined) {
      refuse('VERIFY_POLICY_SIGNATURE', 'A signature was given, and no key.')
    }
    return
  }
  const key = signingKeyIn(pcrPolicyKey)
  if (key === undefined) refuse('VERIFY_POLICY_SIGNATURE', 'The key is none that may sign.')
  if (pcrPolicy === undefined) refuse('VERIFY_POLICY_SIGNATURE', 'There is no policy.')
  if (pcrPolicySignature === undefined) {
    refuse('VERIFY_POLICY_SIGNATURE', 'There is no signature.')
  }
  requirePolicySize(pcrPolicy)
  if (!hasSigned(key, pcrPolicy, pcrPolicySignature)) refuse('VERIFY_POLICY_SIGNATURE')
}

function requireInForce({ notBeforeMs, notAfterMs }: PcrPolicy, nowMs: number): void {
  if (notBeforeMs !== undefined && nowMs < notBeforeMs) {
    refuse('VERIFY_POLICY_TIME', `In force from ${new Date(notBeforeMs).toISOString()}.`)
  }
  if (notAfterMs !== undefined && nowMs > notAfterMs) {
    refuse('VERIFY_POLICY_TIME', `In force until ${new Date(notAfterMs).toISOString()}.`)
  }
}

function refuse(
  code: 'VERIFY_POLICY_SIGNATURE' | 'VERIFY_POLICY_TIME' | 'VERIFY_POLICY_REVISION',
  detail?: string,
): never {
  throw new MetabindError(code, detail)
}
