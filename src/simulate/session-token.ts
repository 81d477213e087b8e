/**
 * Stateless session tokens, so that their number is not limited and none is left at expiry:
 *
 *   6 bytes   expiry, milliseconds of the monotonic clock
 *   10 bytes  random, so that no two are equal
 *   32 bytes  HMAC-SHA-256 over the instance id and all before it
 *
 * 48 bytes are 64 characters of base64url with no spare bits: every token has one spelling.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

export const MAX_TTL_SECONDS = 21_600
const CLAIMS_BYTES = 16
const TOKEN = /^[A-Za-z0-9_-]{64}$/

/** The sessions of one instance. */
export interface Sessions {
  open(ttlSeconds: number): string
  isOpen(token: string): boolean
  /** Closes every session: tokens issued before are invalid from here on. */
  closeAll(): void
}

export function sessionsOf(instanceId: string, monotonicNow: () => number): Sessions {
  let key = randomBytes(32)
  return {
    open: (ttlSeconds) => issueToken(key, instanceId, monotonicNow() + ttlSeconds * 1000),
    isOpen: (token) => isValidToken(key, instanceId, token, monotonicNow()),
    closeAll: () => {
      key = randomBytes(32)
    },
  }
}

export function issueToken(key: Buffer, instanceId: string, expiresAtMs: number): string {
  const claims = Buffer.alloc(CLAIMS_BYTES)
  claims.writeUIntBE(Math.floor(expiresAtMs), 0, 6)
  randomBytes(10).copy(claims, 6)
  return Buffer.concat([claims, mac(key, instanceId, claims)]).toString('base64url')
}

/** True for a token of this key and instance whose time is not over. */
export function isValidToken(
  key: Buffer,
  instanceId: string,
  token: string,
  nowMs: number,
): boolean {
  if (!TOKEN.test(token)) return false
  const bytes = Buffer.from(token, 'base64url')
  const claims = bytes.subarray(0, CLAIMS_BYTES)
  if (!timingSafeEqual(mac(key, instanceId, claims), bytes.subarray(CLAIMS_BYTES))) return false
  return nowMs < claims.readUIntBE(0, 6)
}

function mac(key: Buffer, instanceId: string, claims: Buffer): Buffer {
  return createHmac('sha256', key).update(claims).update(instanceId).digest()
}
