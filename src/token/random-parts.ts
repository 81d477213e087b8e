import { randomFillSync } from 'node:crypto'

/** Bytes of the random part of a session token. */
const BYTES = 8
const DRAWN_AT_ONCE = 512

/**
 * Random parts of session tokens, in hex, each given once. They are drawn many at a time: to ask the generator
 * costs more than the MAC of a token. Nobody has to be kept from knowing the next ones, as a token is worth
 * its MAC.
 */
export function randomParts(): () => string {
  const drawn = Buffer.alloc(DRAWN_AT_ONCE * BYTES)
  let at = drawn.length
  return () => {
    if (at === drawn.length) {
      randomFillSync(drawn)
      at = 0
    }
    at += BYTES
    return drawn.toString('hex', at - BYTES, at)
  }
}
