import { createHash, createHmac } from 'node:crypto'
import type { TpmHash } from './algorithms.ts'

/**
 * KDFa (TPM 2.0 Part 1, 11.4.10.2; SP 800-108 in counter mode): block i is
 * HMAC(key, u32 i ‖ label ‖ 00 ‖ contextU ‖ contextV ‖ u32 bits), i from 1.
 */
export function kdfa(
  hash: TpmHash,
  key: Uint8Array,
  label: string,
  contextU: Uint8Array,
  contextV: Uint8Array,
  bits: number,
): Buffer {
  return blocks(hash, bits, (counter) =>
    createHmac(hash.name, key)
      .update(counter)
      .update(`${label}\0`)
      .update(contextU)
      .update(contextV)
      .update(u32(bits))
      .digest(),
  )
}

/**
 * KDFe (TPM 2.0 Part 1, 11.4.10.3; SP 800-56A): block i is
 * H(u32 i ‖ Z ‖ label ‖ 00 ‖ PartyU ‖ PartyV), i from 1.
 *
 * @param z x-coordinate of the shared point, padded to the curve's size
 */
export function kdfe(
  hash: TpmHash,
  z: Uint8Array,
  label: string,
  partyU: Uint8Array,
  partyV: Uint8Array,
  bits: number,
): Buffer {
  return blocks(hash, bits, (counter) =>
    createHash(hash.name)
      .update(counter)
      .update(z)
      .update(`${label}\0`)
      .update(partyU)
      .update(partyV)
      .digest(),
  )
}

function blocks(hash: TpmHash, bits: number, block: (counter: Buffer) => Buffer): Buffer {
  const bytes = Math.ceil(bits / 8)
  const made: Buffer[] = []
  for (let at = 0; at * hash.bytes < bytes; at += 1) made.push(block(u32(at + 1)))
  const key = Buffer.concat(made).subarray(0, bytes)
  // Bits beyond the ones asked for are the top bits of the first byte, and are cleared.
  if (bits % 8 !== 0) key.writeUInt8(key.readUInt8(0) & ((1 << (bits % 8)) - 1), 0)
  return key
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
