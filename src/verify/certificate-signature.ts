import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { MetabindError } from '../errors.ts'
import type { Certificate } from './certificate.ts'

/**
 * Signature algorithms of certificates that are accepted: RSA PKCS#1 v1.5 and ECDSA, with SHA-256 or
 * better. SHA-1 and MD5 are not in the list, so a collision buys nobody an EK certificate.
 */
const ALGORITHMS: ReadonlyMap<string, { readonly key: 'rsa' | 'ec'; readonly hash: string }> =
  new Map([
    ['1.2.840.113549.1.1.11', { key: 'rsa', hash: 'sha256' }],
    ['1.2.840.113549.1.1.12', { key: 'rsa', hash: 'sha384' }],
    ['1.2.840.113549.1.1.13', { key: 'rsa', hash: 'sha512' }],
    ['1.2.840.10045.4.3.2', { key: 'ec', hash: 'sha256' }],
    ['1.2.840.10045.4.3.3', { key: 'ec', hash: 'sha384' }],
    ['1.2.840.10045.4.3.4', { key: 'ec', hash: 'sha512' }],
  ])

const RSA_BITS_MIN = 2048
// Verification is quadratic in this; a certificate of 16 KiB could hold a modulus of 120,000 bits.
const RSA_BITS_MAX = 8192
const CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1'])
const EXPONENT_MAX = 0xffff_ffffn

/** @throws MetabindError VERIFY_CERTIFICATE_ALGORITHM if the algorithm or the issuer's key is weak */
export function requireStrongSignature(certificate: Certificate, issuer: Certificate): void {
  const algorithm = ALGORITHMS.get(certificate.signatureAlgorithm)
  if (algorithm === undefined) weak(`signature algorithm ${certificate.signatureAlgorithm}`)
  const key = issuerKey(issuer)
  if (key.asymmetricKeyType !== algorithm.key) weak('the issuer has a key of another kind')
  const { modulusLength = 0, publicExponent = 0n, namedCurve = '' } = key.asymmetricKeyDetails ?? {}
  const isStrong =
    algorithm.key === 'ec'
      ? CURVES.has(namedCurve)
      : modulusLength >= RSA_BITS_MIN &&
        modulusLength <= RSA_BITS_MAX &&
        // Under an exponent of 1 anybody can sign, and an even one has no private key.
        publicExponent > 1n &&
        publicExponent % 2n === 1n &&
        publicExponent <= EXPONENT_MAX
  if (!isStrong) weak(`the issuer's key: ${namedCurve || `RSA of ${modulusLength} bits`}`)
}

/** Call requireStrongSignature first. @throws MetabindError VERIFY_CERTIFICATE_SIGNATURE */
export function requireIssuerSignature(certificate: Certificate, issuer: Certificate): void {
  const hash = ALGORITHMS.get(certificate.signatureAlgorithm)?.hash
  const { tbs, signature } = certificate
  if (hash === undefined || !verify(hash, tbs, issuerKey(issuer), signature)) {
    throw new MetabindError('VERIFY_CERTIFICATE_SIGNATURE')
  }
}

function issuerKey(issuer: Certificate): KeyObject {
  try {
    return createPublicKey({ key: issuer.publicKey, format: 'der', type: 'spki' })
  } catch (error) {
    throw new MetabindError('VERIFY_CERTIFICATE', "The issuer's public key is unusable.", error)
  }
}

function weak(what: string): never {
  throw new MetabindError('VERIFY_CERTIFICATE_ALGORITHM', `Found: ${what}.`)
}
