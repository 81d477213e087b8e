import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import { MetabindError } from '../errors.ts'
import { remembered } from '../remembered.ts'
import { hexOf, tpmCurve } from './algorithms.ts'
import type { PublicJwk } from './public-jwk.ts'
import type { TpmPublic } from './tpm-public.ts'

export type { PublicJwk }

/** JSON Web Key of an asymmetric TPM key. An exponent of 0 stands for 65537 (Part 2, 12.2.3.5). */
export function jwkOf(key: TpmPublic): PublicJwk {
  if (key.type === 'rsa') {
    const e = Buffer.alloc(4)
    e.writeUInt32BE(key.exponent === 0 ? 65537 : key.exponent)
    const exponent = e.subarray(e.findIndex((byte) => byte !== 0))
    return { kty: 'RSA', n: key.modulus.toString('base64url'), e: exponent.toString('base64url') }
  }
  if (key.type === 'keyedhash') return unusable('a keyed hash has no public key')
  const curve = tpmCurve(key.curve)
  if (curve === undefined) return unusable(`curve ${hexOf(key.curve)}`)
  const x = leftPad(key.x, curve.bytes).toString('base64url')
  return { kty: 'EC', crv: curve.jwk, x, y: leftPad(key.y, curve.bytes).toString('base64url') }
}

/**
 * The key for node:crypto. A point that is not on its curve is refused. An AK signed several things; OpenSSL looks at its
 * point each time that it is loaded.
 *
 * @throws MetabindError VERIFY_STRUCTURE
 */
export const keyObjectOf = remembered((key: TpmPublic): KeyObject => {
  if (key.type === 'rsa') requireModulus(key.modulus, key.keyBits)
  const jwk = jwkOf(key)
  try {
    return createPublicKey({ key: jwk, format: 'jwk' })
  } catch (error) {
    throw new MetabindError('VERIFY_STRUCTURE', 'TPMT_PUBLIC: not a point of its curve.', error)
  }
})

/** As any RSA key has it: OpenSSL fails in ways of its own if a modulus is even or too small. */
function requireModulus(modulus: Buffer, bits: number): void {
  const [first = 0] = modulus
  const isWhole = modulus.length * 8 === bits && first >= 0x80
  if (!isWhole) unusable('the modulus is not of the length that it says')
  if (((modulus.at(-1) ?? 0) & 1) === 0) unusable('the modulus is even')
}

/** SHA-256 of the SubjectPublicKeyInfo, in hex: what an endorsement key is pinned by. */
export const spkiDigest = remembered((key: TpmPublic): string =>
  createHash('sha256')
    .update(keyObjectOf(key).export({ type: 'spki', format: 'der' }))
    .digest('hex'),
)

/** TPMs leave leading zero bytes of coordinates and signature halves out. */
export function leftPad(bytes: Buffer, length: number): Buffer {
  if (bytes.length > length) return unusable(`${bytes.length} bytes where ${length} fit`)
  return Buffer.concat([Buffer.alloc(length - bytes.length), bytes])
}

function unusable(why: string): never {
  throw new MetabindError('VERIFY_STRUCTURE', `TPMT_PUBLIC: ${why}.`)
}
