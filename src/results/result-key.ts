import { createHash, createPrivateKey, createPublicKey, KeyObject } from 'node:crypto'
import {
  ML_DSA_65_OID,
  type SignatureAlgorithm,
  signatureAlgorithmOf,
} from '../format/algorithms.ts'
import { VerifyError } from '../verify/verify-error.ts'

/** A key of attestation results, with the one algorithm that it signs with. */
export interface ResultKey {
  readonly algorithm: SignatureAlgorithm
  readonly key: KeyObject
  /** SHA-256 of SubjectPublicKeyInfo: `kid` of what it signs. */
  readonly id: Buffer
}

const PEM_CHARACTERS_MAX = 64 * 1024

/**
 * The key that signs results.
 *
 * @param key private, as KeyObject or as PEM of PKCS #8 without a password
 * @throws VerifyError VERIFY_RESULT_KEY
 */
export function signingKeyOf(key: KeyObject | string): ResultKey {
  const parse = (der: Buffer) => createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  return resultKeyOf(parseKey(key, 'PRIVATE KEY', parse), 'private')
}

/**
 * A key that results are verified with. A secret is none: under HMAC whoever can verify could sign.
 *
 * @param key public, as KeyObject or as PEM of SubjectPublicKeyInfo
 * @throws VerifyError VERIFY_RESULT_KEY
 */
export function verifyingKeyOf(key: KeyObject | string): ResultKey {
  const parse = (der: Buffer) => createPublicKey({ key: der, format: 'der', type: 'spki' })
  return resultKeyOf(parseKey(key, 'PUBLIC KEY', parse), 'public')
}

function resultKeyOf(key: KeyObject, type: 'private' | 'public'): ResultKey {
  if (!(key instanceof KeyObject) || key.type !== type) unusable(`it is no ${type} key`)
  const algorithm = signatureAlgorithmOf(key)
  if (algorithm === undefined) unusable('no results are signed by keys of its kind')
  const spki = (type === 'private' ? createPublicKey(key) : key).export({
    type: 'spki',
    format: 'der',
  })
  return { algorithm, key, id: createHash('sha256').update(spki).digest() }
}

/** Of PEM one block and nothing else: of two keys in a file nobody would know which is meant. */
function parseKey(
  pem: KeyObject | string,
  label: string,
  parse: (der: Buffer) => KeyObject,
): KeyObject {
  if (typeof pem !== 'string') return pem
  if (pem.length > PEM_CHARACTERS_MAX) unusable('the file is too long')
  const block = new RegExp(
    `^\\s*-----BEGIN ${label}-----\\s([A-Za-z0-9+/=\\s]+)-----END ${label}-----\\s*$`,
  ).exec(pem)
  if (block === null) unusable(`it is no PEM with one ${label}`)
  const der = Buffer.from(block[1] ?? '', 'base64')
  try {
    return parse(der)
  } catch (error) {
    const kind = der.includes(ML_DSA_65_OID)
      ? 'of ML-DSA, which Node.js has from 24.6 on'
      : 'of a kind that this runtime does not know'
    return unusable(`its content is malformed, or ${kind}`, error)
  }
}

function unusable(why: string, cause?: unknown): never {
  throw new VerifyError('VERIFY_RESULT_KEY', 'result key', `Found: ${why}.`, cause)
}
