import type { Cache } from './cache.ts'
import type { FirstSeenRow } from './first-seen.ts'
import { type Entry, type EntryDeps, holdingOf, makeEntry } from './freshness.ts'
import type { LifetimeOf } from './lifetimes.ts'
import type { Item } from './source.ts'
import { ofPath } from './target.ts'

/** What of the cache outlives this process. */
export interface MetadataSnapshot {
  /** The ones that would be missed most first. */
  readonly items: readonly SnapshotItem[]
  readonly firstSeen: readonly FirstSeenRow[]
}

/** One value. */
export interface SnapshotItem {
  readonly path: string
  readonly item: Item
  readonly fetchedAtMs: number
}

/** What is there now. That something is absent is not worth it. */
export function snapshotOf(
  store: Cache<Entry>,
  { firstSeen }: Pick<EntryDeps, 'firstSeen'>,
): MetadataSnapshot {
  const items = store
    .entries()
    .flatMap(([path, { item, fetchedAtMs }]) =>
      item === undefined ? [] : [{ path, item, fetchedAtMs }],
    )
  return { items, firstSeen: firstSeen.all() }
}

/** Takes over the values for paths that nothing is known of yet. */
export function restoreInto(
  store: Cache<Entry>,
  { items, firstSeen }: MetadataSnapshot,
  deps: EntryDeps & { readonly lifetimeOf: LifetimeOf },
): void {
  // What is of the future is of another clock.
  const isOfPast = (ms: number) => ms <= deps.clocks.bootTimeMs()
  deps.firstSeen.restore(firstSeen.filter(([, atMs]) => isOfPast(atMs)))
  // What was used last is put in last: it goes last from a full cache, as before.
  for (const item of items.filter(({ fetchedAtMs }) => isOfPast(fetchedAtMs)).toReversed()) {
    const entry = revive(item, deps.lifetimeOf, deps)
    const holding = entry === undefined ? undefined : holdingOf(entry)
    if (entry === undefined || holding === undefined) continue
    if (store.get(item.path) === undefined) store.set(item.path, entry, holding)
  }
}

/** The entry of a value, as old as if the agent had never stopped; undefined if it is no more. */
function revive(
  { path, item, fetchedAtMs }: SnapshotItem,
  lifetimeOf: LifetimeOf,
  deps: EntryDeps,
): Entry | undefined {
  const then = { ...deps.clocks, bootTimeMs: () => fetchedAtMs }
  try {
    return makeEntry(item, lifetimeOf(ofPath(path)), undefined, { ...deps, clocks: then })
  } catch {
    // Expired while nobody ran: then it is as if it had not been there.
    return undefined
  }
}
