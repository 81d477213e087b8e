import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { MetabindError } from '../errors.ts'
import {
  CERTIFICATE_SIGNATURES,
  isKnownCurve,
  RSA_BITS_MAX,
  RSA_BITS_MIN,
} from '../format/algorithms.ts'
import { remembered } from '../remembered.ts'
import type { Certificate } from './certificate.ts'

const EXPONENT_MAX = 0xffff_ffffn

/** A certificate, or a list of revoked ones. */
export type Signed = Pick<Certificate, 'signatureAlgorithm' | 'tbs' | 'signature'>

/** @throws MetabindError VERIFY_CERTIFICATE_ALGORITHM if the algorithm or the issuer's key is weak */
export function requireStrongSignature(signed: Signed, issuer: Certificate): void {
  const algorithm = CERTIFICATE_SIGNATURES.get(signed.signatureAlgorithm)
  if (algorithm === undefined) weak(`signature algorithm ${signed.signatureAlgorithm}`)
  const key = issuerKey(issuer)
  if (key.asymmetricKeyType !== algorithm.key) weak('the issuer has a key of another kind')
  const { modulusLength = 0, publicExponent = 0n, namedCurve = '' } = key.asymmetricKeyDetails ?? {}
  const isStrong =
    algorithm.key === 'ec'
      ? isKnownCurve(namedCurve)
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
  const issuers = knownIssuers.get(certificate) ?? new WeakSet()
  if (issuers.has(issuer)) return
  if (!isSignedBy(certificate, issuer)) throw new MetabindError('VERIFY_CERTIFICATE_SIGNATURE')
  knownIssuers.set(certificate, issuers.add(issuer))
}

/** Which of its signatures held, for as long as the certificates are kept. */
const knownIssuers = new WeakMap<Certificate, WeakSet<Certificate>>()

/** Call requireStrongSignature first. */
export function isSignedBy({ signatureAlgorithm, tbs, signature }: Signed, issuer: Certificate) {
  const hash = CERTIFICATE_SIGNATURES.get(signatureAlgorithm)?.hash
  return hash !== undefined && verify(hash, tbs, issuerKey(issuer), signature)
}

/** Whether a key of the issuer's kind makes signatures of this algorithm; true as well for unknown ones. */
export function mayBeSignedBy({ signatureAlgorithm }: Signed, issuer: Certificate): boolean {
  const algorithm = CERTIFICATE_SIGNATURES.get(signatureAlgorithm)
  return algorithm === undefined || issuerKey(issuer).asymmetricKeyType === algorithm.key
}

const issuerKey = remembered((issuer: Certificate): KeyObject => {
  try {
    return createPublicKey({ key: issuer.publicKey, format: 'der', type: 'spki' })
  } catch (error) {
    throw new MetabindError('VERIFY_CERTIFICATE', "The issuer's public key is unusable.", error)
  }
})

function weak(what: string): never {
  throw new MetabindError('VERIFY_CERTIFICATE_ALGORITHM', `Found: ${what}.`)
}
