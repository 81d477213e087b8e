import { MetabindError } from '../errors.ts'
import { ALG } from './algorithms.ts'
import { parseSignature } from './tpm-signature.ts'

/** JSON Web Signatures in compact form (RFC 7515, 3.1), made. src/verify/compact-jws.ts takes them apart. */

/** What is signed of one: `base64url(header).base64url(payload)`. */
export function jwsInput(header: object, payload: object): string {
  return `${part(header)}.${part(payload)}`
}

function part(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

export function jwsOf(input: string, signature: Uint8Array): string {
  return `${input}.${Buffer.from(signature).toString('base64url')}`
}

/**
 * One by ES256, from its input and the TPMT_SIGNATURE of its digest.
 *
 * @throws MetabindError VERIFY_STRUCTURE if the signature is no ECDSA of P-256 with SHA-256
 */
export function jwsOfTpm(input: string, tpmSignature: Uint8Array): string {
  return jwsOf(input, es256Signature(tpmSignature))
}

const HALF_BYTES = 32

/**
 * r and s of a TPMT_SIGNATURE, 32 bytes each: the form of ES256 (RFC 7518 3.4) and of IEEE P1363. A
 * TPM may have left leading zeros out.
 *
 * @throws MetabindError VERIFY_STRUCTURE if the signature is no ECDSA of P-256 with SHA-256
 */
export function es256Signature(tpmSignature: Uint8Array): Buffer {
  const signature = parseSignature(tpmSignature)
  const fits =
    signature.algorithm === ALG.ECDSA &&
    signature.hash === ALG.SHA256 &&
    signature.r.length <= HALF_BYTES &&
    signature.s.length <= HALF_BYTES
  if (!fits) throw new MetabindError('VERIFY_STRUCTURE', 'TPMT_SIGNATURE: not for ES256.')
  const halves = Buffer.alloc(2 * HALF_BYTES)
  signature.r.copy(halves, HALF_BYTES - signature.r.length)
  signature.s.copy(halves, 2 * HALF_BYTES - signature.s.length)
  return halves
}
