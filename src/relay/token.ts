import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { MetabindError } from '../errors.ts'
import { Secret } from '../format/secret.ts'
import {
  type Claims,
  decodeToken,
  EPOCH_MS,
  encodeClaims,
  encodeToken,
  type OpenedToken,
  TTL_SECONDS_MAX,
} from '../format/token-claims.ts'
import type { Caller } from './caller.ts'

/** The token keys as the relay sees them. The TPM is behind whoever fills this, never behind a call. */
export interface TokenKeys {
  /** First 8 bytes, in hex, of what identifies this instance. */
  readonly iidPrefix: string
  /** The key of an epoch, or undefined where it is over or not there yet. */
  key(epoch: number): Buffer | undefined
  /** Whether a token with this random part was revoked. */
  isRevoked(random: string): boolean
}

/** Issues and redeems session tokens. Neither keeps anything: a million tokens cost what one costs. */
export interface TokenAuthority {
  /** @throws MetabindError AGENT_NOT_READY where the key of this hour is not there */
  issue(ttlSeconds: number, caller: Caller): Secret<string>
  /** @returns what the token says, all of it true. @throws MetabindError with a TOKEN_ code */
  redeem(text: string, caller: Caller): Claims
  /** Like redeem, for whoever is not its holder: all checks but the last, on the caller. */
  verify(text: string): Claims
}

/**
 * @param keys the token keys
 * @param bootTimeMs CLOCK_BOOTTIME: it never jumps, counts suspend, and no one can set it
 * @param binds what new tokens are bound to besides the instance
 */
export function tokenAuthority(
  keys: TokenKeys,
  bootTimeMs: () => number,
  binds: () => readonly 'uid'[],
): TokenAuthority {
  return {
    issue: (ttlSeconds, caller) => issue(keys, bootTimeMs(), binds(), ttlSeconds, caller),
    redeem: (text, caller) => requireHolder(verify(keys, bootTimeMs(), text), caller),
    verify: (text) => verify(keys, bootTimeMs(), text),
  }
}

function issue(
  keys: TokenKeys,
  nowMs: number,
  binds: readonly 'uid'[],
  ttlSeconds: number,
  caller: Caller,
): Secret<string> {
  const epoch = Math.floor(nowMs / EPOCH_MS)
  const key = keys.key(epoch)
  if (key === undefined) throw new MetabindError('AGENT_NOT_READY', `no key of epoch ${epoch}`)
  const covered = encodeClaims({
    boundTo: { uid: binds.includes('uid'), unit: false },
    epoch,
    iidPrefix: keys.iidPrefix,
    expiresAtMs: Math.floor(nowMs) + ttlSeconds * 1000,
    uid: caller.uid,
    random: randomBytes(8).toString('hex'),
  })
  return new Secret(encodeToken(covered, mac(key, covered)))
}

/**
 * The checks, in this order. Until the MAC is checked the claims are the presenter's word; they
 * only choose which refusal is given.
 */
function verify(keys: TokenKeys, nowMs: number, text: string): Claims {
  const token = decodeToken(text)
  const { claims } = token
  if (claims.iidPrefix !== keys.iidPrefix) throw foreign(claims)
  const key = keys.key(claims.epoch) ?? refuseEpoch(claims.epoch, nowMs)
  if (!timingSafeEqual(mac(key, token.covered), token.mac)) throw new MetabindError('TOKEN_FORGED')
  if (nowMs >= claims.expiresAtMs) throw new MetabindError('TOKEN_EXPIRED')
  if (keys.isRevoked(claims.random)) throw new MetabindError('TOKEN_REVOKED')
  return claims
}

function requireHolder(claims: Claims, caller: Caller): Claims {
  if (claims.boundTo.uid && claims.uid !== caller.uid) {
    throw new MetabindError('TOKEN_CALLER', `made for uid ${claims.uid}`)
  }
  return claims
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

function mac(key: Buffer, covered: OpenedToken['covered']): Buffer {
  return createHmac('sha256', key).update(covered).digest()
}
