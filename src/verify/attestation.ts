import { constants, type KeyObject, timingSafeEqual, verify } from 'node:crypto'
import { MetabindError } from '../errors.ts'
import { ALG, hexOf, isStrongHash, tpmCurve, tpmHash } from '../format/algorithms.ts'
import { parseAttest, TPM_GENERATED, type TpmAttest, unwrapAttest } from '../format/tpm-attest.ts'
import { keyObjectOf, leftPad } from '../format/tpm-key.ts'
import type { TpmPublic } from '../format/tpm-public.ts'
import { parseSignature, type TpmSignature } from '../format/tpm-signature.ts'

/**
 * A signed attestation and the checks that quotes and certifications share, each with its code. They
 * stand in this order in CHECKS: nothing in the structure means anything before its signature held.
 */
export interface Attestation {
  /** The signed bytes: TPMS_ATTEST without a TPM2B size around it. */
  readonly bytes: Buffer
  readonly attest: TpmAttest
  readonly signature: TpmSignature
}

/** @throws MetabindError VERIFY_STRUCTURE */
export function parseAttestation(attest: Uint8Array, signature: Uint8Array): Attestation {
  const bytes = unwrapAttest(attest)
  return { bytes, attest: parseAttest(bytes), signature: parseSignature(signature) }
}

/**
 * The signature's algorithm and hash are those in the key's public area, and not SHA-1: the signer
 * does not get to choose a weaker one.
 */
export function requireKeyScheme({ signature }: Attestation, key: TpmPublic): void {
  const { algorithm, hash } = key.scheme
  if (signature.algorithm !== algorithm || signature.hash !== hash || !isStrongHash(hash)) {
    const found = `${hexOf(signature.algorithm)} with ${hexOf(signature.hash)}`
    throw new MetabindError('VERIFY_SIGNATURE_ALGORITHM', `Found: ${found}.`)
  }
}

/** The signature verifies over the raw bytes. Call requireKeyScheme first. */
export function requireAttestationSignature(
  { bytes, signature }: Attestation,
  key: TpmPublic,
): void {
  const hash = tpmHash(signature.hash)
  const isGood = hash !== undefined && isSignedBy(bytes, hash.name, signature, key)
  if (!isGood) throw new MetabindError('VERIFY_SIGNATURE')
}

function isSignedBy(bytes: Buffer, hash: string, signature: TpmSignature, key: TpmPublic): boolean {
  const publicKey: KeyObject = keyObjectOf(key)
  if (signature.algorithm === ALG.ECDSA) {
    const field = key.type === 'ecc' ? tpmCurve(key.curve) : undefined
    if (field === undefined) return false
    const { r, s } = signature
    if (r.length > field.bytes || s.length > field.bytes) return false
    const halves = Buffer.concat([leftPad(r, field.bytes), leftPad(s, field.bytes)])
    return verify(hash, bytes, { key: publicKey, dsaEncoding: 'ieee-p1363' }, halves)
  }
  if (key.type !== 'rsa') return false
  if (signature.algorithm === ALG.RSASSA) {
    return verify(hash, bytes, publicKey, signature.signature)
  }
  const padding = constants.RSA_PKCS1_PSS_PADDING
  return verify(hash, bytes, { key: publicKey, padding }, signature.signature)
}

/** CVE-2024-29038: without this, a key that signs anything could sign an "attestation". */
export function requireMagic({ attest }: Attestation): void {
  if (attest.magic !== TPM_GENERATED) throw new MetabindError('VERIFY_MAGIC')
}

/** GHSA-gwfg-w3jr-xh66: a certification or a time stamp is no quote, and the other way round. */
export function requireType<T extends 'quote' | 'certify'>(
  { attest }: Attestation,
  type: T,
): TpmAttest['body'] & { type: T } {
  const { body } = attest
  if (!isOfType(body, type)) {
    const found = body.type === 'other' ? hexOf(body.tag) : body.type
    throw new MetabindError('VERIFY_TYPE', `Found: ${found}.`)
  }
  return body
}

function isOfType<T extends 'quote' | 'certify'>(
  body: TpmAttest['body'],
  type: T,
): body is TpmAttest['body'] & { type: T } {
  return body.type === type
}

/** The nonce, as quote or certification carry it. Compared in constant time: it may be guessed at. */
export function requireExtraData({ attest }: Attestation, expected: Buffer): void {
  const { extraData } = attest
  const isSame = extraData.length === expected.length && timingSafeEqual(extraData, expected)
  if (!isSame) throw new MetabindError('VERIFY_EXTRA_DATA')
}

/** A key of another hierarchy has another qualified Name, though its Name may be the same. */
export function requireSigner({ attest }: Attestation, qualifiedName: Buffer): void {
  if (!attest.qualifiedSigner.equals(qualifiedName)) throw new MetabindError('VERIFY_SIGNER')
}
