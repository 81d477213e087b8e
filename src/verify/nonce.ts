import { NONCE_BYTES_MAX, NONCE_BYTES_MIN } from '../format/evidence.ts'

/** @throws RangeError if it is not of 16 to 64 bytes */
export function requireNonce(nonce: Uint8Array): Buffer {
  if (nonce.length < NONCE_BYTES_MIN || nonce.length > NONCE_BYTES_MAX) {
    throw new RangeError(`a nonce has ${NONCE_BYTES_MIN} to ${NONCE_BYTES_MAX} bytes`)
  }
  return Buffer.from(nonce)
}
