import { RateError } from '../errors.ts'
import { type Rate, ratePerUid } from './rate.ts'

/** What one uid may do. Reads that the cache answers are not limited: they cost what refusing costs. */
export interface LimitBounds {
  readonly mints: Rate
  readonly misses: Rate
  readonly connectionsPerUid: number
}

export const LIMIT_KINDS = ['mint', 'miss', 'connections', 'total'] as const
/** Which limit was met: three of a uid, and `total` for the connections of all together. */
export type LimitKind = (typeof LIMIT_KINDS)[number]

/** Limits per uid. One that floods is refused; nobody else notices. */
export interface Limits {
  /** Call before a token is made. @throws RateError */
  requireMint(uid: number): void
  /** Call before the source is asked for somebody, once for all who wait for that answer. @throws RateError */
  requireMiss(uid: number): void
  /** Call for each refusal. @returns how long its answer shall wait: 0, but for a uid that floods */
  pauseMs(uid: number | undefined): number
  /** @returns whether the uid may have one connection more; each that was admitted must leave */
  admit(uid: number): boolean
  leave(uid: number): void
}

// More refusals than a program that behaves ever meets; beyond them, one connection gets ten a second
// and not ten thousand, and the event loop is free for the others.
const REFUSALS: Rate = { perSecond: 50, burst: 200 }
const PAUSE_MS = 100

/**
 * @param clockMs a clock that never jumps
 * @param onRefused told of each refusal
 */
export function limits(
  bounds: LimitBounds,
  clockMs: () => number,
  onRefused: (kind: LimitKind) => void,
): Limits {
  const mints = ratePerUid(bounds.mints, clockMs)
  const misses = ratePerUid(bounds.misses, clockMs)
  const refusals = ratePerUid(REFUSALS, clockMs)
  // Bounded by the connections of all uids together.
  const connections = new Map<number, number>()
  const requireOne = (waitSeconds: number, kind: LimitKind): void => {
    if (waitSeconds === 0) return
    onRefused(kind)
    throw new RateError(waitSeconds, kind)
  }
  return {
    requireMint: (uid) => requireOne(mints.take(uid), 'mint'),
    requireMiss: (uid) => requireOne(misses.take(uid), 'miss'),
    pauseMs: (uid) => (refusals.take(uid) === 0 ? 0 : PAUSE_MS),
    admit: (uid) => {
      const open = connections.get(uid) ?? 0
      if (open < bounds.connectionsPerUid) {
        connections.set(uid, open + 1)
        return true
      }
      onRefused('connections')
      return false
    },
    leave: (uid) => {
      const open = (connections.get(uid) ?? 1) - 1
      if (open > 0) connections.set(uid, open)
      else connections.delete(uid)
    },
  }
}
