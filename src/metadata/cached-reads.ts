import type { Cache } from './cache.ts'
import { type Clocks, conditionOf, type Entry } from './freshness.ts'
import type { Item } from './source.ts'
import { keyOf, type Target } from './target.ts'
import type { UpstreamReads } from './upstream-reads.ts'

/** What a reader is given. */
export interface Answered {
  /** Undefined: there is no such path. */
  readonly item: Item | undefined
  /** `hit`: cached and good; `miss`: asked for now; `stale`: cached, and the source gives no newer one. */
  readonly cache: 'hit' | 'miss' | 'stale'
  /** Since the source said so, by boot time; whole seconds. */
  readonly ageSeconds: number
}

/** How a target is read. */
export interface ReadHow {
  /** Ask the source now, and answer what it says or why it says nothing. */
  readonly fresh?: boolean
  /** Called before the source is asked for something new; what it throws is the answer. */
  readonly onMiss?: () => void
}

/** Reads for callers: the cache, then the source. */
interface CachedReads {
  /** See Metadata. */
  read(target: Target, how?: ReadHow): Answered | Promise<Answered>
  /** Answers since the start. */
  readonly counted: { readonly hits: number; readonly misses: number; readonly stale: number }
}

const COUNTED = { hit: 'hits', miss: 'misses', stale: 'stale' } as const

export function cachedReads(
  store: Cache<Entry>,
  upstream: UpstreamReads,
  clocks: Clocks,
): CachedReads {
  const counted = { hits: 0, misses: 0, stale: 0 }

  const give = (
    entry: Entry,
    cache: Answered['cache'],
    nowMs: number = clocks.bootTimeMs(),
  ): Answered => {
    counted[COUNTED[cache]] += 1
    const ageMs = nowMs - entry.fetchedAtMs
    return { item: entry.item, cache, ageSeconds: Math.floor(ageMs / 1000) }
  }
  const miss = async (target: Target, { fresh, onMiss }: ReadHow): Promise<Answered> => {
    const isUnderWay = upstream.isUnderWay(target)
    if (!isUnderWay && !fresh && upstream.isHeld(target)) throw upstream.reason(target)
    if (!isUnderWay) onMiss?.()
    const flight = fresh ? upstream.ask(target) : upstream.askUnlessHeld(target, false)
    if (flight === undefined) throw upstream.reason(target)
    return give(await flight.landed, 'miss')
  }
  const newer = async (target: Target, old: Entry, mustRefresh: boolean): Promise<Answered> => {
    const flight = upstream.askUnlessHeld(target, !mustRefresh)
    const got = await (mustRefresh ? flight?.landed : flight?.soon)?.catch(() => undefined)
    if (got !== undefined) return give(got, 'miss')
    // It may have come to its end during the wait, or to that which a refusal makes of credentials.
    const isRefused = old.credentials !== undefined && store.get(keyOf(target)) === undefined
    if (isRefused || conditionOf(old, clocks) === 'expired') throw upstream.reason(target)
    return give(old, 'stale')
  }
  const readCached = (
    target: Target,
    entry: Entry,
    how: ReadHow,
    nowMs: number,
  ): Answered | Promise<Answered> => {
    const condition = conditionOf(entry, clocks, nowMs)
    switch (condition) {
      case 'refresh-soon':
        upstream.askUnlessHeld(target, true)
        return give(entry, 'hit', nowMs)
      case 'fresh':
        return give(entry, 'hit', nowMs)
      case 'stale':
      case 'must-refresh':
        return newer(target, entry, condition === 'must-refresh')
      case 'expired':
        store.delete(keyOf(target))
        return miss(target, how)
    }
  }

  return {
    read: (target, how = {}) => {
      const nowMs = clocks.bootTimeMs()
      const entry = how.fresh ? undefined : store.get(keyOf(target), nowMs)
      return entry === undefined ? miss(target, how) : readCached(target, entry, how, nowMs)
    },
    counted,
  }
}
