import { boundedCache, type CacheBounds } from './cache.ts'
import { type FirstSeenRow, firstSeen } from './first-seen.ts'
import {
  CREDENTIALS_RANK,
  conditionOf,
  type Entry,
  type EntryDeps,
  holdingOf,
  makeEntry,
} from './freshness.ts'
import { roleListOf } from './held-roles.ts'
import type { Item } from './source.ts'
import {
  ofPath,
  type Question,
  type UpstreamDeps,
  type UpstreamState,
  upstreamReads,
} from './upstream-reads.ts'

/** What a reader is given. */
export interface Answered {
  /** Undefined: there is no such path. */
  readonly item: Item | undefined
  /** `hit`: kept and good; `miss`: asked for now; `stale`: kept, and the source gives no newer one. */
  readonly cache: 'hit' | 'miss' | 'stale'
  /** Since the source said so, by boot time; whole seconds. */
  readonly ageSeconds: number
}

/** One kept value, for keeping it beyond this process. */
export interface KeptItem {
  readonly path: string
  readonly item: Item
  readonly fetchedAtMs: number
}

/** What goes on beyond this process. */
export interface KeptMetadata {
  /** The ones that would be missed most first. */
  readonly items: readonly KeptItem[]
  readonly firstSeen: readonly FirstSeenRow[]
}

/** How a path is read. */
interface ReadHow {
  /** Ask the source now, and answer what it says or why it says nothing. */
  readonly fresh?: boolean
  /** Called before the source is asked for something new; what it throws is the answer. */
  readonly onMiss?: () => void
}

/** Where answers come from: the cache, then the source. docs/caching.md is its contract. */
export interface Metadata {
  /**
   * @param path canonical
   * @param query nothing, or one that judgeQuery let through
   * @throws MetabindError SOURCE_DOWN, SOURCE_NONSENSE, SOURCE_ROLE if nothing that is kept may be given
   */
  read(path: string, query: string | undefined, how?: ReadHow): Answered | Promise<Answered>
  /**
   * Refreshes credentials that need it soon, whether or not anybody reads, looks whether their roles are still
   * there, and drops what has ended.
   */
  turn(): void
  /** What is worth keeping beyond this process. */
  kept(): KeptMetadata
  /** Takes over kept values for paths that nothing is known of yet. */
  restore(kept: KeptMetadata): void
  readonly state: MetadataState
}

/** Counted since the start, or as it is now. */
interface MetadataState extends UpstreamState {
  readonly hits: number
  readonly misses: number
  readonly stale: number
  readonly entries: number
  readonly bytes: number
}

/** What the cache works with. */
export interface MetadataDeps extends Omit<UpstreamDeps, 'firstSeen'> {
  readonly bounds: CacheBounds
}

/** While credentials are held, the list of roles is not older than this; it tells that theirs is gone. */
export const ROLE_LIST_MS = 60_000

/** A cache before a source. It sets no timer but for reads under way: call `turn` now and then. */
export function metadataFrom(deps: MetadataDeps): Metadata {
  const { clocks } = deps
  const entryDeps = { ...deps, firstSeen: firstSeen() }
  const store = boundedCache<Entry>(deps.bounds, clocks.bootTimeMs)
  const upstream = upstreamReads(store, entryDeps)
  const counted = { hits: 0, misses: 0, stale: 0 }

  const give = (entry: Entry, cache: Answered['cache']): Answered => {
    counted[cache === 'hit' ? 'hits' : cache === 'miss' ? 'misses' : 'stale'] += 1
    const ageMs = clocks.bootTimeMs() - entry.fetchedAtMs
    return { item: entry.item, cache, ageSeconds: Math.floor(ageMs / 1000) }
  }
  const miss = async (question: Question, { fresh, onMiss }: ReadHow): Promise<Answered> => {
    const { target } = question
    const isUnderWay = upstream.underWay(target) !== undefined
    if (!isUnderWay && !fresh && upstream.isHeld(target)) throw upstream.reason(target)
    if (!isUnderWay) onMiss?.()
    const flight = fresh ? upstream.ask(question) : upstream.askUnlessHeld(question, false)
    if (flight === undefined) throw upstream.reason(target)
    return give(await flight.landed, 'miss')
  }
  const newer = async (path: string, old: Entry, mustRefresh: boolean): Promise<Answered> => {
    const flight = upstream.askUnlessHeld(ofPath(path), !mustRefresh)
    const got = await (mustRefresh ? flight?.landed : flight?.soon)?.catch(() => undefined)
    if (got !== undefined) return give(got, 'miss')
    // It may have come to its end during the wait, or to that which a refusal makes of credentials.
    const isRefused = old.credentials !== undefined && store.get(path) === undefined
    if (isRefused || conditionOf(old, clocks) === 'expired') throw upstream.reason(path)
    return give(old, 'stale')
  }
  const readKept = (path: string, entry: Entry, how: ReadHow): Answered | Promise<Answered> => {
    const condition = conditionOf(entry, clocks)
    switch (condition) {
      case 'refresh-soon':
        upstream.askUnlessHeld(ofPath(path), true)
        return give(entry, 'hit')
      case 'fresh':
        return give(entry, 'hit')
      case 'stale':
      case 'must-refresh':
        return newer(path, entry, condition === 'must-refresh')
      case 'expired':
        store.delete(path)
        return miss(ofPath(path), how)
    }
  }
  const upkeep = (path: string, entry: Entry): void => {
    const condition = conditionOf(entry, clocks)
    if (condition === 'expired') {
      store.delete(path)
      return
    }
    if (condition !== 'fresh') upstream.askUnlessHeld(ofPath(path), condition === 'refresh-soon')
    const list = roleListOf(path)
    const known = store.get(list)
    const ageMs = clocks.bootTimeMs() - (known?.fetchedAtMs ?? Number.NEGATIVE_INFINITY)
    if (ageMs >= ROLE_LIST_MS) upstream.askUnlessHeld(ofPath(list), true)
  }

  return {
    read: (path, query, how = {}) => {
      const target = query === undefined ? path : `${path}?${query}`
      const entry = how.fresh ? undefined : store.get(target)
      return entry === undefined ? miss({ target, path, query }, how) : readKept(path, entry, how)
    },
    turn: () => {
      store.sweep()
      for (const [path, entry] of store.entries(CREDENTIALS_RANK)) {
        if (entry.credentials !== undefined) upkeep(path, entry)
      }
    },
    kept: () => ({
      items: store
        .entries()
        .flatMap(([path, { item, fetchedAtMs }]) =>
          item === undefined ? [] : [{ path, item, fetchedAtMs }],
        ),
      firstSeen: entryDeps.firstSeen.all(),
    }),
    restore: (kept) => {
      // What is of the future is of another clock.
      const isOfPast = (ms: number) => ms <= clocks.bootTimeMs()
      entryDeps.firstSeen.restore(kept.firstSeen.filter(([, atMs]) => isOfPast(atMs)))
      for (const item of kept.items.filter(({ fetchedAtMs }) => isOfPast(fetchedAtMs))) {
        const entry = revive(item, deps.lifetimeOf, entryDeps)
        const holding = entry === undefined ? undefined : holdingOf(entry)
        if (entry === undefined || holding === undefined) continue
        if (store.get(item.path) === undefined) store.set(item.path, entry, holding)
      }
    },
    get state() {
      return { ...counted, ...upstream.state, entries: store.count, bytes: store.bytes }
    },
  }
}

/** An entry of a kept value, as old as if the agent had never stopped; undefined if it is no more. */
function revive(
  { path, item, fetchedAtMs }: KeptItem,
  lifetimeOf: UpstreamDeps['lifetimeOf'],
  deps: EntryDeps,
): Entry | undefined {
  const then = { ...deps.clocks, bootTimeMs: () => fetchedAtMs }
  try {
    return makeEntry(item, lifetimeOf(path, undefined), undefined, { ...deps, clocks: then })
  } catch {
    // Expired while nobody ran: then it is as if it had not been kept.
    return undefined
  }
}
