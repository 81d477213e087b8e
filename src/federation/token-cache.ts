import { openCounts } from '../open-counts.ts'
import type { Secret } from '../secret.ts'
import type { FleetToken } from './exchange.ts'

/** A token that is kept, and until when. */
export interface KeptToken {
  readonly token: Secret<string>
  /** From then on another is wanted. */
  readonly renewAtMs: number
  /** From then on it is of no use. */
  readonly endsAtMs: number
}

/** The tokens that callers asked for. Bounded; each user has a share, and makes room within it. */
export interface TokenCache {
  /** One that is of use. */
  find(key: string): KeptToken | undefined
  keep(key: string, uid: number, made: FleetToken, askedAtMs: number): KeptToken
  clear(): void
  readonly size: number
}

/** Each may be 16 KiB long, and usually is one. */
export const TOKENS_MAX = 512
export const TOKENS_PER_UID_MAX = 32
/** What takes a token somewhere takes time, and other clocks differ. */
const MARGIN_MS = 30_000

interface Entry extends KeptToken {
  readonly uid: number
}

/** @param clockMs a clock that never jumps */
export function tokenCache(clockMs: () => number): TokenCache {
  // In the order of their use.
  const entries = new Map<string, Entry>()
  const ofUser = openCounts<number>()
  const drop = (key: string): void => {
    const entry = entries.get(key)
    if (entry === undefined) return
    entries.delete(key)
    ofUser.remove(entry.uid, 1)
  }
  const dropOldest = (isMeant: (entry: Entry) => boolean): void => {
    const [key] = [...entries].find(([, entry]) => isMeant(entry)) ?? []
    if (key !== undefined) drop(key)
  }
  const makeRoom = (uid: number): void => {
    const nowMs = clockMs()
    for (const [key, { endsAtMs }] of entries) if (endsAtMs <= nowMs) drop(key)
    if (ofUser.of(uid) >= TOKENS_PER_UID_MAX) dropOldest((entry) => entry.uid === uid)
    if (entries.size < TOKENS_MAX) return
    const most = Math.max(...[...entries.values()].map((entry) => ofUser.of(entry.uid)))
    dropOldest((entry) => ofUser.of(entry.uid) === most)
  }
  return {
    find: (key) => {
      const entry = entries.get(key)
      if (entry === undefined) return undefined
      if (entry.endsAtMs <= clockMs()) {
        drop(key)
        return undefined
      }
      entries.delete(key)
      entries.set(key, entry)
      return entry
    },
    keep: (key, uid, { token, lifeMs }, askedAtMs) => {
      drop(key)
      makeRoom(uid)
      const endsAtMs = askedAtMs + lifeMs - Math.min(MARGIN_MS, lifeMs / 4)
      const entry = { uid, token, renewAtMs: askedAtMs + lifeMs / 2, endsAtMs }
      entries.set(key, entry)
      ofUser.add(uid, 1)
      return entry
    },
    clear: () => {
      for (const key of [...entries.keys()]) drop(key)
    },
    get size() {
      return entries.size
    },
  }
}
