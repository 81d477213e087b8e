import { createHash } from 'node:crypto'
import type { CertifiedKey } from './evidence.ts'

/**
 * What the verifier's nonce becomes in each thing that is made for it. Every use has a prefix of its
 * own, so that a quote can never pass for a certification, or one key's certification for another's.
 * All are 32 bytes: some TPMs take no longer qualifyingData.
 */

/** qualifyingData of TPM2_Quote. */
export function quoteQualifyingData(nonce: Uint8Array): Buffer {
  return digest('metabind quote v1', nonce)
}

/** qualifyingData of TPM2_Certify of a key. */
export function certifyQualifyingData(key: CertifiedKey, nonce: Uint8Array): Buffer {
  return digest(`metabind certify v1${key}`, nonce)
}

/** The audience that the cloud's identity document is asked for: base64url, 43 characters. */
export function identityDocumentAudience(nonce: Uint8Array): string {
  return digest('metabind evidence v1', nonce).toString('base64url')
}

function digest(prefix: string, nonce: Uint8Array): Buffer {
  return createHash('sha256').update(prefix).update(nonce).digest()
}
