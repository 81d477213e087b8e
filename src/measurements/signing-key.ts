import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { type StrongHash, signatureAlgorithmOf } from '../format/algorithms.ts'

/** A public key of somebody who signs policies or PCR values, as `openssl pkey -pubout` writes it. */
export interface SigningKey {
  readonly key: KeyObject
  /** What it signs with: the hash of RSASSA-PKCS1-v1_5 or ECDSA; undefined for Ed25519 and ML-DSA-65, which have their own. */
  readonly hash: StrongHash | undefined
}

/** The key in a PEM file; undefined if it is none that may sign. */
export function signingKeyIn(pem: string | Uint8Array): SigningKey | undefined {
  const text = Buffer.from(pem).toString('latin1')
  // A private key would be taken too, and should not lie about where policies are verified.
  if (!text.includes('-----BEGIN PUBLIC KEY-----') || text.includes('PRIVATE KEY')) return undefined
  const key = publicKeyIn(text)
  const algorithm = key && signatureAlgorithmOf(key)
  return algorithm && { key, hash: algorithm.hash }
}

/** Whether the key signed these bytes. Signatures of ECDSA are in DER, as OpenSSL makes them. */
export function hasSigned(
  { key, hash }: SigningKey,
  bytes: Uint8Array,
  signature: Uint8Array,
): boolean {
  try {
    return verify(hash, bytes, key, signature)
  } catch {
    // OpenSSL throws for some signatures that are none.
    return false
  }
}

function publicKeyIn(text: string): KeyObject | undefined {
  try {
    return createPublicKey(text)
  } catch {
    return undefined
  }
}
