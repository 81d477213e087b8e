import { constants, type KeyObject, sign, verify } from 'node:crypto'
import type { ResultKey } from './result-key.ts'

/** The signature in the form that JOSE and COSE share: of ECDSA r and s, one behind the other. */
export function signatureBy({ key, algorithm }: ResultKey, bytes: Uint8Array): Buffer {
  return sign(algorithm.hash, bytes, withScheme(key))
}

/** @returns false for a signature that is none, too */
export function isSignatureBy(
  { key, algorithm }: ResultKey,
  bytes: Uint8Array,
  signature: Uint8Array,
): boolean {
  return verify(algorithm.hash, bytes, withScheme(key), signature)
}

/** What is of no concern to a kind of key is left alone by it. */
function withScheme(key: KeyObject) {
  if (key.asymmetricKeyType !== 'rsa') return { key, dsaEncoding: 'ieee-p1363' as const }
  // RFC 7518, 3.5 and RFC 8230, 2: the salt is as long as the hash.
  return {
    key,
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
  }
}
