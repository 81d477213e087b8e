import { hash } from 'node:crypto'

/** Of SHA-256 (FIPS 180-4). */
const BLOCK_BYTES = 64
const DIGEST_BYTES = 32
const INNER_PAD = 0x36
const OUTER_PAD = 0x5c

/** Longest text. */
const TEXT_BYTES_MAX = 512

// One for all calls, as they are synchronous; overwritten after each, as a key can be found from it.
const inner = Buffer.alloc(BLOCK_BYTES + TEXT_BYTES_MAX)
const outer = Buffer.alloc(BLOCK_BYTES + DIGEST_BYTES)

/**
 * HMAC-SHA-256 (RFC 2104), by Node's SHA-256. createHmac makes an object that the collector has to end, which
 * takes longer than all else that is done for a token; test/token/hmac.test.ts compares the two.
 *
 * @param key no longer than a block of SHA-256, 64 bytes
 * @param text 512 bytes at most
 * @throws RangeError if either is longer
 */
export function hmacSha256(key: Uint8Array, text: Uint8Array): Buffer {
  if (key.length > BLOCK_BYTES || text.length > TEXT_BYTES_MAX) throw new RangeError('too long')
  try {
    pad(inner, key, INNER_PAD)
    pad(outer, key, OUTER_PAD)
    inner.set(text, BLOCK_BYTES)
    outer.set(sha256(inner.subarray(0, BLOCK_BYTES + text.length)), BLOCK_BYTES)
    return sha256(outer)
  } finally {
    inner.fill(0)
    outer.fill(0)
  }
}

function pad(block: Buffer, key: Uint8Array, byte: number): void {
  block.fill(byte, 0, BLOCK_BYTES)
  for (let at = 0; at < key.length; at += 1) block[at] = (key[at] ?? 0) ^ byte
}

function sha256(bytes: Uint8Array): Buffer {
  return hash('sha256', bytes, 'buffer')
}
