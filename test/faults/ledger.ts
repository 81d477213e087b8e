import { bootTimeMs } from 'metabind-linux'

/** A session token that a caller was given, and when it is over. */
export interface HeldToken {
  readonly uid: number
  readonly text: string
  /** It is good before the first of the two, and over after the second: its answer was on its way between. */
  readonly endsAfterMs: number
  readonly endsBeforeMs: number
  /** When its revocation was asked for, and when it was confirmed. */
  revokedFromMs: number
  revokedByMs: number
}

/** What of a token is true for a request that was sent and answered at these times. */
export type TokenTruth = 'good' | 'over' | 'either'

export function heldToken(
  uid: number,
  text: string,
  ttlSeconds: number,
  askedAtMs: number,
): HeldToken {
  return {
    uid,
    text,
    endsAfterMs: askedAtMs + ttlSeconds * 1000,
    endsBeforeMs: bootTimeMs() + ttlSeconds * 1000,
    revokedFromMs: Number.POSITIVE_INFINITY,
    revokedByMs: Number.POSITIVE_INFINITY,
  }
}

export function truthOf(token: HeldToken, sentAtMs: number, answeredAtMs: number): TokenTruth {
  if (sentAtMs > Math.min(token.endsBeforeMs, token.revokedByMs)) return 'over'
  if (answeredAtMs < Math.min(token.endsAfterMs, token.revokedFromMs)) return 'good'
  return 'either'
}

/** The tokens that callers hold; of those that went by, the last ones. */
export interface Ledger {
  readonly tokens: readonly HeldToken[]
  add(token: HeldToken): void
  /** All of before are over: as by a revocation of all, or a reset of the TPM. */
  revokeAll(fromMs: number, byMs: number): void
}

const TOKENS_MAX = 400

export function ledger(): Ledger {
  const tokens: HeldToken[] = []
  return {
    tokens,
    add: (token) => {
      tokens.push(token)
      // The first ones stay: they are those that live through everything.
      if (tokens.length > TOKENS_MAX) tokens.splice(TOKENS_MAX / 4, 1)
    },
    revokeAll: (fromMs, byMs) => {
      for (const token of tokens) {
        token.revokedFromMs = Math.min(token.revokedFromMs, fromMs)
        token.revokedByMs = Math.min(token.revokedByMs, byMs)
      }
    },
  }
}
