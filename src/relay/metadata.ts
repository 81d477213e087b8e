import { type ErrorCode, MetabindError } from '../errors.ts'
import { boundedCache, type CacheBounds } from './cache.ts'
import { admit, type Clocks, conditionOf, type Entry, holdingOf } from './entry.ts'
import { type Flight, flights } from './flights.ts'
import type { LifetimeOf } from './lifetimes.ts'
import { setbacks } from './setbacks.ts'
import type { Item, Source } from './source.ts'

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
  /** See HeldCredentials; for what is no credentials, fetchedAtMs. */
  readonly seenAtMs: number
}

/** How a path is read. */
export interface ReadHow {
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
   * @throws MetabindError SOURCE_DOWN, SOURCE_NONSENSE where nothing that is kept may be given
   */
  read(path: string, query: string | undefined, how?: ReadHow): Answered | Promise<Answered>
  /** Refreshes credentials that are due, whether or not anybody reads, and drops what has ended. */
  turn(): void
  /** Values worth keeping beyond this process, the ones that would be missed most first. */
  kept(): KeptItem[]
  /** Takes over kept values for paths that nothing is known of yet. */
  restore(items: readonly KeptItem[]): void
  readonly state: MetadataState
}

/** Counted since the start. */
export interface MetadataState {
  readonly hits: number
  readonly misses: number
  readonly stale: number
  readonly upstreamReads: number
  readonly upstreamFailures: number
  /** Now, late ones included. */
  readonly upstreamUnderWay: number
  readonly entries: number
  readonly bytes: number
  readonly sourceIsDown: boolean
}

/** What the cache works with. */
export interface MetadataParts {
  readonly source: Source
  readonly lifetimeOf: LifetimeOf
  /** See Dialect. */
  readonly credentialMembers: readonly string[]
  readonly bounds: CacheBounds
  readonly clocks: Clocks
  /** No reader waits longer for the source. SDKs give up after 1,000 ms. */
  readonly answerWithinMs: number
  /** The source has fallen silent, or speaks again. */
  readonly onSource: (isDown: boolean) => void
  /** Credentials that are held could not be refreshed; up to once a second. */
  readonly onRefreshFailed: (path: string, error: unknown) => void
  /** A value has been kept that was not before, or is newer. */
  readonly onKept: () => void
}

/** A cache before a source. It sets no timer but for reads under way: call `turn` now and then. */
export function metadataFrom(parts: MetadataParts): Metadata {
  const { source, clocks } = parts
  const store = boundedCache<Entry>(parts.bounds, clocks.bootTimeMs)
  const reads = flights<Entry>(parts.answerWithinMs)
  const troubles = setbacks(clocks.bootTimeMs, clocks.random)
  const counted = { hits: 0, misses: 0, stale: 0, upstreamReads: 0, upstreamFailures: 0 }

  const noting = (change: () => void): void => {
    const wasDown = troubles.isDown
    change()
    if (troubles.isDown !== wasDown) parts.onSource(troubles.isDown)
  }
  const keep = (target: string, entry: Entry): Entry => {
    noting(() => troubles.answered(target))
    const holding = holdingOf(entry)
    if (holding === undefined) return entry
    store.set(target, entry, holding)
    if (entry.item !== undefined) parts.onKept()
    return entry
  }
  const ask = async (target: string, path: string, query: string | undefined): Promise<Entry> => {
    const item = await source.read(path, query).catch(absentAsUndefined)
    const lifetime = parts.lifetimeOf(path, query)
    const before = store.get(target)
    return keep(target, admit(item, lifetime, before, clocks, parts.credentialMembers))
  }
  const noteFailure = (target: string, error: unknown): void => {
    counted.upstreamFailures += 1
    const code = error instanceof MetabindError ? error.code : 'INTERNAL'
    noting(() => troubles.failed(target, code, isSilence(error)))
    if (store.get(target)?.credentials !== undefined) parts.onRefreshFailed(target, error)
  }
  const launch = (target: string, path: string, query: string | undefined): Flight<Entry> => {
    counted.upstreamReads += 1
    const flight = reads.launch(target, ask(target, path, query))
    flight.landed.catch((error: unknown) => noteFailure(target, error))
    return flight
  }
  /** The flight to wait for; undefined while failures of late hold it back. */
  const flightFor = (target: string, path: string, query: string | undefined, hasOld: boolean) =>
    reads.underWay(target) ??
    (troubles.mayAsk(target, hasOld) ? launch(target, path, query) : undefined)

  const give = (entry: Entry, cache: Answered['cache']): Answered => {
    counted[cache === 'hit' ? 'hits' : cache === 'miss' ? 'misses' : 'stale'] += 1
    const ageMs = clocks.bootTimeMs() - entry.fetchedAtMs
    return { item: entry.item, cache, ageSeconds: Math.floor(ageMs / 1000) }
  }
  const miss = async (
    target: string,
    path: string,
    query: string | undefined,
    onMiss: () => void,
  ): Promise<Answered> => {
    if (reads.underWay(target) === undefined) onMiss()
    const flight = flightFor(target, path, query, false)
    if (flight === undefined) throw new MetabindError(troubles.reason(target), 'asked just before')
    return give(await flight.landed, 'miss')
  }
  const anew = async (
    target: string,
    path: string,
    query: string | undefined,
    onMiss: () => void,
  ): Promise<Answered> => {
    if (reads.underWay(target) === undefined) onMiss()
    return give(await (reads.underWay(target) ?? launch(target, path, query)).landed, 'miss')
  }

  const newer = async (path: string, old: Entry, isUrgent: boolean): Promise<Answered> => {
    const flight = flightFor(path, path, undefined, !isUrgent)
    const got = await (isUrgent ? flight?.landed : flight?.soon)?.catch(() => undefined)
    if (got !== undefined) return give(got, 'miss')
    // Credentials may have come to their end during the wait.
    if (conditionOf(old, clocks) === 'over') throw new MetabindError(troubles.reason(path))
    return give(old, 'stale')
  }
  const readKept = (
    path: string,
    entry: Entry,
    onMiss: () => void,
  ): Answered | Promise<Answered> => {
    const condition = conditionOf(entry, clocks)
    switch (condition) {
      case 'due':
        flightFor(path, path, undefined, true)
        return give(entry, 'hit')
      case 'fresh':
        return give(entry, 'hit')
      case 'aged':
      case 'urgent':
        return newer(path, entry, condition === 'urgent')
      case 'over':
        store.delete(path)
        return miss(path, path, undefined, onMiss)
    }
  }

  return {
    read: (path, query, { fresh = false, onMiss = () => undefined } = {}) => {
      const target = query === undefined ? path : `${path}?${query}`
      if (fresh) return anew(target, path, query, onMiss)
      const entry = store.get(target)
      return entry === undefined ? miss(target, path, query, onMiss) : readKept(path, entry, onMiss)
    },
    turn: () => {
      store.sweep()
      for (const [path, entry] of store.entries()) {
        if (entry.credentials === undefined) continue
        const condition = conditionOf(entry, clocks)
        if (condition === 'over') store.delete(path)
        else if (condition !== 'fresh') flightFor(path, path, undefined, condition === 'due')
      }
    },
    kept: () => store.entries().flatMap(([path, entry]) => keptItem(path, entry)),
    restore: (items) => {
      for (const kept of items) {
        const entry = revive(kept, parts)
        const holding = entry === undefined ? undefined : holdingOf(entry)
        if (entry === undefined || holding === undefined) continue
        if (store.get(kept.path) === undefined) store.set(kept.path, entry, holding)
      }
    },
    get state() {
      const { count: entries, bytes } = store
      const now = { upstreamUnderWay: reads.count, sourceIsDown: troubles.isDown }
      return { ...counted, ...now, entries, bytes }
    },
  }
}

function keptItem(path: string, entry: Entry): KeptItem[] {
  const { item, fetchedAtMs, credentials } = entry
  if (item === undefined) return []
  return [{ path, item, fetchedAtMs, seenAtMs: credentials?.seenAtMs ?? fetchedAtMs }]
}

/** An entry of a kept value, aged as if the agent had never stopped; undefined where it is no more. */
function revive(kept: KeptItem, parts: MetadataParts): Entry | undefined {
  const then = { ...parts.clocks, bootTimeMs: () => kept.seenAtMs }
  try {
    const entry = admit(
      kept.item,
      parts.lifetimeOf(kept.path, undefined),
      undefined,
      then,
      parts.credentialMembers,
    )
    return { ...entry, fetchedAtMs: kept.fetchedAtMs }
  } catch {
    // Expired while nobody ran: then it is as if it had not been kept.
    return undefined
  }
}

function absentAsUndefined(error: unknown): undefined {
  if (!(error instanceof MetabindError) || error.code !== 'METADATA_ABSENT') throw error
}

/** No connection or no answer has a cause below it or is late; an answer with an error is no silence. */
function isSilence(error: unknown): boolean {
  const code: ErrorCode | undefined = error instanceof MetabindError ? error.code : undefined
  return code === 'SOURCE_DOWN' && error instanceof Error && error.cause !== undefined
}
