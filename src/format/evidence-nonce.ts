import { createHash } from 'node:crypto'
import type { CertifiedKey } from './evidence.ts'

/** What a verifier, or whoever asks for it, wants to have under every signature of evidence. */
export interface Qualifier {
  /** The verifier's, 16 to 64 bytes. */
  readonly nonce: Uint8Array
  /** 1 to 64 bytes that are to be bound to the instance, such as the hash of a TLS key; undefined for nothing. */
  readonly bind?: Uint8Array | undefined
}

/**
 * What they become in each thing that is made for them. Every use has a prefix of its own, so that a quote can
 * never pass for a certification, or one key's certification for another's; and the length of the nonce stands
 * before it, so that no byte of the one can pass for a byte of the other. All are 32 bytes: some TPMs take no
 * longer qualifyingData.
 */

/** qualifyingData of TPM2_Quote. */
export function quoteQualifyingData(qualifier: Qualifier): Buffer {
  return digest('metabind quote v2', qualifier)
}

/** qualifyingData of TPM2_Certify of a key. */
export function certifyQualifyingData(key: CertifiedKey, qualifier: Qualifier): Buffer {
  return digest(`metabind certify v2${key}`, qualifier)
}

/** The audience that the cloud's identity document is asked for: base64url, 43 characters. */
export function identityDocumentAudience(qualifier: Qualifier): string {
  return digest('metabind evidence v2', qualifier).toString('base64url')
}

const NOTHING = new Uint8Array()

function digest(prefix: string, { nonce, bind = NOTHING }: Qualifier): Buffer {
  const length = Uint8Array.of(nonce.length)
  return createHash('sha256').update(prefix).update(length).update(nonce).update(bind).digest()
}
