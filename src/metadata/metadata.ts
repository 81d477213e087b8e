import { boundedCache, type CacheBounds } from './cache.ts'
import { type Answered, cachedReads, type ReadHow } from './cached-reads.ts'
import { firstSeen } from './first-seen.ts'
import { type Condition, CREDENTIALS_RANK, conditionOf, type Entry } from './freshness.ts'
import { roleListOf } from './held-roles.ts'
import { type MetadataSnapshot, restoreInto, snapshotOf } from './snapshot.ts'
import { ofPath, type Target } from './target.ts'
import { type UpstreamDeps, type UpstreamState, upstreamReads } from './upstream-reads.ts'

/** Where answers come from: the cache, then the source. docs/caching.md is its contract. */
export interface Metadata {
  /**
   * @param target its query one that judgeQuery let through
   * @throws MetabindError SOURCE_DOWN, SOURCE_NONSENSE, SOURCE_ROLE if nothing that is cached may be given
   */
  read(target: Target, how?: ReadHow): Answered | Promise<Answered>
  /**
   * Refreshes credentials that need it soon, whether or not anybody reads, looks whether their roles are still
   * there, and drops what has ended.
   */
  turn(): void
  /** What is worth having beyond this process. */
  snapshot(): MetadataSnapshot
  /** Takes over a snapshot, for paths that nothing is known of yet. */
  restore(snapshot: MetadataSnapshot): void
  readonly state: MetadataState
  /** What is missed most if it is lost, without its values: credentials and what holds for the boot. */
  held(): readonly HeldItem[]
}

/** An answer of the source that is cached. */
interface HeldItem {
  readonly path: string
  readonly condition: Condition
  /** In boot time. */
  readonly fetchedAtMs: number
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
export function metadataFrom({ bounds, ...given }: MetadataDeps): Metadata {
  const { clocks } = given
  const deps = { ...given, firstSeen: firstSeen() }
  const store = boundedCache<Entry>(bounds, clocks.bootTimeMs)
  const upstream = upstreamReads(store, deps)
  const reads = cachedReads(store, upstream, clocks)

  const refreshInTime = (path: string, entry: Entry): void => {
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
    read: reads.read,
    turn: () => {
      store.sweep()
      for (const [path, entry] of store.entries(CREDENTIALS_RANK)) {
        if (entry.credentials !== undefined) refreshInTime(path, entry)
      }
    },
    snapshot: () => snapshotOf(store, deps),
    restore: (snapshot) => restoreInto(store, snapshot, deps),
    held: () =>
      store.entries(CREDENTIALS_RANK).map(([path, entry]) => ({
        path,
        condition: conditionOf(entry, clocks),
        fetchedAtMs: entry.fetchedAtMs,
      })),
    get state() {
      return { ...reads.counted, ...upstream.state, entries: store.count, bytes: store.bytes }
    },
  }
}
