import { MetabindError } from '../errors.ts'

/** Bytes of a session token, and characters of its base64url text without padding. */
const TOKEN_BYTES = 64
export const TOKEN_CHARACTERS = 86
export const MAC_BYTES = 32
/** Bytes that the MAC covers. */
export const CLAIMS_BYTES = TOKEN_BYTES - MAC_BYTES

const TOKEN_VERSION = 1
/** Seconds that a token may live: 1 to 21,600, the bounds of ECS security-enhanced mode. */
export const TTL_SECONDS_MIN = 1
export const TTL_SECONDS_MAX = 21_600

/** Length of an epoch: an hour of boot time. Each has its own token key. */
export const EPOCH_MS = 3_600_000

const FLAG_UID = 1
const FLAG_UNIT = 2
// 64 bytes fill 85 characters and two bits: any other last character would spell a token twice.
const TEXT = /^[A-Za-z0-9_-]{85}[AQgw]$/

/** What a session token says. Until its MAC is checked, every field is the presenter's word. */
export interface Claims {
  /** What the token is bound to besides the instance. */
  readonly boundTo: { readonly uid: boolean; readonly unit: boolean }
  /** The hour of boot time whose key the MAC was made with. */
  readonly epoch: number
  /** First 8 bytes of the iid of the instance, in hex. */
  readonly iidPrefix: string
  /** When it ends, in milliseconds of CLOCK_BOOTTIME. */
  readonly expiresAtMs: number
  /** The uid that asked for it. */
  readonly uid: number
  /** 8 random bytes in hex: no two tokens are equal, and one can be revoked by it. */
  readonly random: string
}

/** A token taken apart, its MAC not yet checked. */
export interface OpenedToken {
  readonly claims: Claims
  /** The bytes that the MAC covers. */
  readonly covered: Buffer
  readonly mac: Buffer
}

/** The bytes that the MAC covers: version, flags, epoch, iid prefix, expiry, uid, random. */
export function encodeClaims(claims: Claims): Buffer {
  // Every one of them is written.
  const bytes = Buffer.allocUnsafe(CLAIMS_BYTES)
  bytes.writeUInt8(TOKEN_VERSION, 0)
  bytes.writeUInt8((claims.boundTo.uid ? FLAG_UID : 0) | (claims.boundTo.unit ? FLAG_UNIT : 0), 1)
  bytes.writeUInt32BE(claims.epoch, 2)
  bytes.write(claims.iidPrefix, 6, 8, 'hex')
  bytes.writeUIntBE(claims.expiresAtMs, 14, 6)
  bytes.writeUInt32BE(claims.uid, 20)
  bytes.write(claims.random, 24, 8, 'hex')
  return bytes
}

/** The token's text: base64url without padding of claims and MAC. */
export function encodeToken(covered: Buffer, mac: Buffer): string {
  return Buffer.concat([covered, mac], TOKEN_BYTES).toString('base64url')
}

/**
 * Takes a token apart. Its length and spelling, of which there is one, are checked before anything is
 * decoded.
 *
 * @throws MetabindError TOKEN_MALFORMED, TOKEN_VERSION
 */
export function decodeToken(text: string): OpenedToken {
  if (!TEXT.test(text)) throw new MetabindError('TOKEN_MALFORMED')
  const bytes = Buffer.from(text, 'base64url')
  if (bytes.readUInt8(0) !== TOKEN_VERSION) throw new MetabindError('TOKEN_VERSION')
  const flags = bytes.readUInt8(1)
  if ((flags & ~(FLAG_UID | FLAG_UNIT)) !== 0) throw new MetabindError('TOKEN_VERSION', 'flags')
  return {
    claims: readClaims(bytes, flags),
    covered: bytes.subarray(0, CLAIMS_BYTES),
    mac: bytes.subarray(CLAIMS_BYTES),
  }
}

function readClaims(bytes: Buffer, flags: number): Claims {
  return {
    boundTo: { uid: (flags & FLAG_UID) !== 0, unit: (flags & FLAG_UNIT) !== 0 },
    epoch: bytes.readUInt32BE(2),
    iidPrefix: bytes.toString('hex', 6, 14),
    expiresAtMs: bytes.readUIntBE(14, 6),
    uid: bytes.readUInt32BE(20),
    random: bytes.toString('hex', 24, 32),
  }
}
