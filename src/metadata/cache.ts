/** How much is cached at most. */
export interface CacheBounds {
  readonly entriesMax: number
  /** Values, keys and what an entry costs by itself. */
  readonly bytesMax: number
}

/** What the cache must know of a value. */
export interface Holding {
  /** Size of the value. */
  readonly bytes: number
  /**
   * Under pressure the lowest rank goes first. Any caller can ask for paths that do not exist, as
   * many as it likes: with one rank for all it could push out everybody's credentials just before
   * an outage.
   */
  readonly rank: Rank
  /** When it is of no more use, in milliseconds of the cache's clock; Infinity: as long as there is room. */
  readonly endsAtMs: number
}

/** 0: what does not exist, 1: what can be asked for again, 2: what is missed most in an outage. */
export type Rank = 0 | 1 | 2

/** A bounded store whose values end. It does no I/O and sets no timer. */
export interface Cache<Value> {
  /**
   * The value, and counts as its use; undefined if there is none or it has ended.
   *
   * @param nowMs by the cache's clock, from whoever has read it already
   */
  get(key: string, nowMs?: number): Value | undefined
  /** Puts the value in; others, or this very one, go if the bounds would be passed. */
  set(key: string, value: Value, holding: Holding): void
  delete(key: string): void
  /** Drops what has ended. */
  sweep(): void
  /**
   * What is there: higher ranks first, within a rank the most recently used first.
   *
   * @param least the lowest rank that is wanted; 0 if absent
   */
  entries(least?: Rank): [key: string, value: Value][]
  readonly count: number
  readonly bytes: number
}

interface Slot<Value> {
  readonly value: Value
  readonly bytes: number
  readonly endsAtMs: number
}

/** What an entry costs besides key and value: map slots and small objects, rounded up. */
export const ENTRY_BYTES = 256
const RANKS: readonly Rank[] = [0, 1, 2]

/** @param clockMs a clock that never goes back */
export function boundedCache<Value>(bounds: CacheBounds, clockMs: () => number): Cache<Value> {
  // A Map keeps the order of insertion; what is used is put at its end.
  const shelves = RANKS.map(() => new Map<string, Slot<Value>>())
  let bytes = 0

  // Used last, so at the end of its shelf.
  let last: Slot<Value> | undefined
  const use = (shelf: Map<string, Slot<Value>>, key: string, slot: Slot<Value>): void => {
    if (slot === last) return
    shelf.delete(key)
    shelf.set(key, slot)
    last = slot
  }
  const remove = (key: string): void => {
    for (const shelf of shelves) {
      const slot = shelf.get(key)
      if (slot === undefined) continue
      bytes -= slot.bytes
      shelf.delete(key)
      if (slot === last) last = undefined
    }
  }
  const count = (): number => shelves.reduce((sum, shelf) => sum + shelf.size, 0)
  const evictOne = (): void => {
    const oldest = shelves
      .find((shelf) => shelf.size > 0)
      ?.keys()
      .next()
    if (oldest?.done === false) remove(oldest.value)
  }

  return {
    get: (key, nowMs = clockMs()) => {
      for (const shelf of shelves) {
        const slot = shelf.get(key)
        if (slot === undefined) continue
        if (nowMs >= slot.endsAtMs) return void remove(key)
        use(shelf, key, slot)
        return slot.value
      }
      return undefined
    },
    set: (key, value, holding) => {
      remove(key)
      const slot = {
        value,
        bytes: holding.bytes + 2 * key.length + ENTRY_BYTES,
        endsAtMs: holding.endsAtMs,
      }
      // One that fits in by itself only would empty the cache for nothing.
      if (slot.bytes > bounds.bytesMax || clockMs() >= slot.endsAtMs) return
      shelves[holding.rank]?.set(key, slot)
      last = slot
      bytes += slot.bytes
      while (bytes > bounds.bytesMax || count() > bounds.entriesMax) evictOne()
    },
    delete: remove,
    sweep: () => {
      for (const shelf of shelves) {
        for (const [key, slot] of shelf) if (clockMs() >= slot.endsAtMs) remove(key)
      }
    },
    entries: (least = 0) =>
      shelves
        .slice(least)
        .toReversed()
        .flatMap((shelf) =>
          [...shelf]
            .reverse()
            .filter(([, slot]) => clockMs() < slot.endsAtMs)
            .map(([key, slot]): [string, Value] => [key, slot.value]),
        ),
    get count() {
      return count()
    },
    get bytes() {
      return bytes
    },
  }
}
