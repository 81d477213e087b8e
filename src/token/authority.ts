import { timingSafeEqual } from 'node:crypto'
import { hmacSha256 } from 'metabind-linux'
import type { Caller } from '../caller/caller.ts'
import { type ErrorCode, MetabindError } from '../errors.ts'
import { Secret } from '../secret.ts'
import {
  type Claims,
  decodeToken,
  EPOCH_MS,
  encodeClaims,
  encodeToken,
  MAC_BYTES,
  type OpenedToken,
  TTL_SECONDS_MAX,
} from './claims.ts'
import { randomParts } from './random-parts.ts'

/** The token keys as the relay sees them. The TPM is behind whoever fills this, never behind a call. */
export interface TokenKeys {
  /** First 8 bytes, in hex, of what identifies this instance. */
  readonly iidPrefix: string
  /** The key of an epoch, or undefined if it is over or not there yet. */
  key(epoch: number): Buffer | undefined
  /** Whether a token with this random part was revoked. */
  isRevoked(random: string): boolean
}

/** What a token can be bound to besides the instance. */
export type Binding = 'uid' | 'unit'

const nextRandom = randomParts()

// A MAC cut to half of its length still has 128 bits (RFC 2104, section 5).
const HALF_MAC_BYTES = MAC_BYTES / 2

/**
 * Issues and redeems session tokens. Of those that it issues it keeps nothing: a million tokens cost what one
 * costs. Of those that it redeems it keeps the last of each connection.
 */
export interface TokenAuthority {
  /**
   * @throws MetabindError AGENT_NOT_READY if the key of this hour is not there; TOKEN_UNIT if
   *   tokens are bound to units and the caller is in none
   */
  issue(ttlSeconds: number, caller: Caller): Secret<string>
  /**
   * @param caller the one object that stands for the caller of a connection
   * @returns what the token says, all of it true. @throws MetabindError with a TOKEN_ code
   */
  redeem(text: string, caller: Caller): Claims
  /** Like redeem, for whoever is not its holder: all checks but the last, on the caller. */
  verify(text: string): Claims
  /** Whether new tokens are bound to the unit of their caller. */
  bindsUnit(): boolean
  /** Forgets the token that a caller has shown last, if it would be refused now. */
  forgetEnded(caller: Caller): void
}

/**
 * @param keys the token keys
 * @param bootTimeMs CLOCK_BOOTTIME: it never jumps, counts suspend, and no one can set it
 * @param binds what new tokens are bound to besides the instance
 */
export function tokenAuthority(
  keys: TokenKeys,
  bootTimeMs: () => number,
  binds: () => readonly Binding[],
): TokenAuthority {
  return {
    issue: (ttlSeconds, caller) => issue(keys, bootTimeMs(), binds(), ttlSeconds, caller),
    redeem: (text, caller: Showing) => {
      const nowMs = bootTimeMs()
      const last = caller[SHOWN]
      if (last?.text === text && isStillGood(keys, nowMs, last, caller)) return last.claims
      caller[SHOWN] = undefined
      const { claims, key } = requireHolder(verify(keys, nowMs, text), caller)
      caller[SHOWN] = { text, claims, key }
      return claims
    },
    verify: (text) => verify(keys, bootTimeMs(), text).claims,
    bindsUnit: () => binds().includes('unit'),
    forgetEnded: (caller: Showing) => {
      const last = caller[SHOWN]
      if (last !== undefined && !isStillGood(keys, bootTimeMs(), last, caller))
        caller[SHOWN] = undefined
    },
  }
}

/**
 * A token that was redeemed for a caller. Its text is compared with what is shown next as any two strings
 * are, not in constant time: who can write on the connection speaks as its caller, and is given a token of
 * the same worth for the asking.
 */
interface ShownToken {
  readonly text: string
  readonly claims: Claims
  /** The key of its MAC. */
  readonly key: Buffer
}

/** It goes with the connection, and no other caller has it: what is shown elsewhere is checked there. */
const SHOWN = Symbol('token shown last')
type Showing = Caller & { [SHOWN]?: ShownToken | undefined }

/**
 * Whether a token that was redeemed for this caller would be again. All that may have changed since is
 * looked at; its spelling and its MAC, under the same key, have not, nor has its caller.
 */
function isStillGood(
  keys: TokenKeys,
  nowMs: number,
  { claims, key }: ShownToken,
  caller: Caller,
): boolean {
  return (
    isOfInstance(keys, claims) &&
    keys.key(claims.epoch) === key &&
    whyOver(keys, nowMs, claims) === undefined &&
    isOfUser(claims, caller)
  )
}

/** A token that this instance made, and the key that shows it. */
interface Verified extends OpenedToken {
  readonly key: Buffer
}

function issue(
  keys: TokenKeys,
  nowMs: number,
  binds: readonly Binding[],
  ttlSeconds: number,
  caller: Caller,
): Secret<string> {
  const epoch = Math.floor(nowMs / EPOCH_MS)
  const key = keys.key(epoch)
  if (key === undefined) throw new MetabindError('AGENT_NOT_READY', `no key of epoch ${epoch}`)
  const boundTo = { uid: binds.includes('uid'), unit: binds.includes('unit') }
  // Not a token for callers in no unit: they have nothing in common that it could be bound to.
  if (boundTo.unit && caller.unit === undefined) throw new MetabindError('TOKEN_UNIT')
  const covered = encodeClaims({
    boundTo,
    epoch,
    iidPrefix: keys.iidPrefix,
    expiresAtMs: Math.floor(nowMs) + ttlSeconds * 1000,
    uid: caller.uid,
    random: nextRandom(),
  })
  return new Secret(
    encodeToken(covered, sealed(key, covered, boundTo.unit ? caller.unit : undefined)),
  )
}

/**
 * The checks, in this order. Until the MAC is checked the claims are the presenter's word; they
 * only choose which refusal is given.
 */
function verify(keys: TokenKeys, nowMs: number, text: string): Verified {
  const token = decodeToken(text)
  const { claims } = token
  if (!isOfInstance(keys, claims)) throw foreign(claims)
  const key = keys.key(claims.epoch) ?? refuseEpoch(claims.epoch, nowMs)
  const bytes = claims.boundTo.unit ? HALF_MAC_BYTES : MAC_BYTES
  const own = mac(key, token.covered).subarray(0, bytes)
  if (!timingSafeEqual(own, token.mac.subarray(0, bytes))) throw new MetabindError('TOKEN_FORGED')
  const over = whyOver(keys, nowMs, claims)
  if (over !== undefined) throw new MetabindError(over)
  return { ...token, key }
}

function isOfInstance({ iidPrefix }: TokenKeys, claims: Claims): boolean {
  return claims.iidPrefix === iidPrefix
}

/** Why a token that was good once is so no more; undefined if it is. */
function whyOver(keys: TokenKeys, nowMs: number, claims: Claims): ErrorCode | undefined {
  if (nowMs >= claims.expiresAtMs) return 'TOKEN_EXPIRED'
  return keys.isRevoked(claims.random) ? 'TOKEN_REVOKED' : undefined
}

function isOfUser({ boundTo, uid }: Claims, caller: Caller): boolean {
  return !boundTo.uid || uid === caller.uid
}

function requireHolder(token: Verified, caller: Caller): Verified {
  const { claims } = token
  if (!isOfUser(claims, caller)) {
    throw new MetabindError('TOKEN_CALLER', `made for uid ${claims.uid}`)
  }
  if (claims.boundTo.unit && !isOfUnit(token, caller.unit)) {
    throw new MetabindError('TOKEN_CALLER', 'made for another unit')
  }
  return token
}

function isOfUnit({ key, covered, mac: presented }: Verified, unit: string | undefined): boolean {
  if (unit === undefined) return false
  return timingSafeEqual(sealed(key, covered, unit), presented)
}

/**
 * No key: the epoch lies in the future (it is another boot's), or it is over with every token of
 * it, or its key is about to be derived again.
 */
function refuseEpoch(epoch: number, nowMs: number): never {
  const detail = `epoch ${epoch}`
  if (epoch * EPOCH_MS > nowMs) throw new MetabindError('TOKEN_EPOCH', detail)
  if ((epoch + 1) * EPOCH_MS + TTL_SECONDS_MAX * 1000 <= nowMs) {
    throw new MetabindError('TOKEN_EXPIRED', detail)
  }
  throw new MetabindError('AGENT_NOT_READY', `no key of ${detail}`)
}

function foreign(claims: Claims): MetabindError {
  return new MetabindError('TOKEN_FOREIGN', `made where the iid begins ${claims.iidPrefix}`)
}

/**
 * The 32 bytes after the claims. Of a token that is bound to a unit, the first half is the MAC of the
 * claims and the second that of claims and unit: the unit's name is in no token, and so a token of
 * another unit can still be told from a forged one, and be revoked by whoever is in neither.
 */
function sealed(key: Buffer, covered: OpenedToken['covered'], unit: string | undefined): Buffer {
  const whole = mac(key, covered)
  if (unit === undefined) return whole
  const ofUnit = mac(key, covered, unit).subarray(0, HALF_MAC_BYTES)
  return Buffer.concat([whole.subarray(0, HALF_MAC_BYTES), ofUnit])
}

/** The claims have a fixed length, so no unit's name can be mistaken for a part of them. */
function mac(key: Buffer, covered: OpenedToken['covered'], unit?: string): Buffer {
  return hmacSha256(key, unit === undefined ? covered : Buffer.concat([covered, Buffer.from(unit)]))
}
