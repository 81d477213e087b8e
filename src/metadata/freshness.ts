import type { Dialect, LifetimeName } from '../dialect/dialect.ts'
import { parseRoleCredentials, STRICT } from '../dialect/role-credentials.ts'
import { MetabindError } from '../errors.ts'
import type { Holding } from './cache.ts'
import {
  type CredentialTimes,
  credentialTimes,
  leftMs,
  REFRESH_BEFORE_MS,
  REFRESH_JITTER_MS,
  SDK_STALE_MS,
} from './credential-times.ts'
import type { FirstSeen } from './first-seen.ts'
import { LIFETIMES } from './lifetimes.ts'
import type { Item } from './source.ts'

/** The clocks and the lot that lifetimes are decided by. */
export interface Clocks {
  /** CLOCK_BOOTTIME in milliseconds: never jumps, counts suspend, is the same after a restart. */
  readonly bootTimeMs: () => number
  /** The wall clock in milliseconds. Anybody with the right may set it; only Expiration is read by it. */
  readonly wallTimeMs: () => number
  /** From 0 to 1. */
  readonly random: () => number
}

/** What entries are made with. */
export interface EntryDeps {
  readonly clocks: Clocks
  readonly dialect: Pick<Dialect, 'credentialMembers'>
  readonly firstSeen: FirstSeen
}

/** One answer of the source and how long it holds. */
export interface Entry {
  /** Undefined: the source said that there is no such path. */
  readonly item: Item | undefined
  readonly lifetime: LifetimeName
  /** When the source last said so, in boot time. */
  readonly fetchedAtMs: number
  readonly freshMs: number
  readonly staleMs: number
  readonly credentials: HeldCredentials | undefined
}

interface HeldCredentials {
  readonly times: CredentialTimes
  /** When these were first seen, in boot time; seeing them again does not prolong them. */
  readonly seenAtMs: number
  /** A refresh is tried from so much life left on. */
  readonly refreshBeforeMs: number
  /** The source has just said that it has none better: it is not asked again before, in boot time. */
  readonly quietUntilMs: number
  /** The source has said since that the role is no more: refreshed at once, and a refused refresh ends them. */
  readonly isDoubted: boolean
}

/**
 * What a reader gets of an entry: `fresh` – it; `refresh-soon` – it, and a refresh behind it; `stale` –
 * a newer one if it comes at once; `must-refresh` – a newer one if it comes at all; `expired` – nothing
 * of it.
 */
export type Condition = 'fresh' | 'refresh-soon' | 'stale' | 'must-refresh' | 'expired'

// A value that is cached for the boot is looked at first: one line of text or of JSON.
const PLAIN_LINE = /^[\x20-\x7e]{1,512}\n?$/
const SPREAD = 0.2
/** While the source gives the same credentials, it is asked again after this at most, and at least. */
export const SAME_AGAIN_MS = { most: 60_000, least: 1000 } as const

/**
 * Makes an entry of what the source said.
 *
 * @param before what it said earlier; credentials that end later than the new ones stay
 * @throws MetabindError SOURCE_NONSENSE, SOURCE_ROLE if the answer must not be used
 */
export function makeEntry(
  item: Item | undefined,
  lifetime: LifetimeName,
  before: Entry | undefined,
  deps: EntryDeps,
): Entry {
  const { clocks } = deps
  const { freshSeconds, staleSeconds, absentFreshSeconds, absentStaleSeconds } = LIFETIMES[lifetime]
  const credentials =
    item !== undefined && lifetime === 'credentials' ? hold(item, deps) : undefined
  if (item !== undefined && lifetime === 'boot') requirePlainLine(item.body)
  const shorter = 1 - SPREAD * clocks.random()
  const entry = {
    item,
    lifetime,
    fetchedAtMs: clocks.bootTimeMs(),
    freshMs: (item === undefined ? absentFreshSeconds : freshSeconds) * 1000 * shorter,
    staleMs: (item === undefined ? absentStaleSeconds : staleSeconds) * 1000,
    credentials,
  }
  return better(before, entry, clocks)
}

/** The older credentials if the source, of many machines, fell back to some that end earlier. */
function better(before: Entry | undefined, entry: Entry, clocks: Clocks): Entry {
  const { credentials } = entry
  if (credentials === undefined || before?.credentials === undefined) return entry
  if (lifeLeftMs(before.credentials, clocks) <= lifeLeftMs(credentials, clocks)) return entry
  const { quietUntilMs } = credentials
  return { ...before, credentials: { ...before.credentials, quietUntilMs, isDoubted: false } }
}

/** The entry, whose role the source has said to be no more. */
export function doubted(entry: Entry): Entry {
  const { credentials } = entry
  return credentials === undefined
    ? entry
    : { ...entry, credentials: { ...credentials, isDoubted: true } }
}

function hold(item: Item, { clocks, dialect, firstSeen }: EntryDeps): HeldCredentials {
  const credentials = parseRoleCredentials(item.body, dialect, STRICT)
  const times = credentialTimes(credentials, clocks.wallTimeMs())
  const nowMs = clocks.bootTimeMs()
  const seenAtMs = firstSeen.of(item.body, nowMs)
  const left = leftMs(times, clocks.wallTimeMs(), nowMs - seenAtMs)
  if (left <= 0) throw new MetabindError('SOURCE_NONSENSE', 'credentials: older than their life')
  const refreshBeforeMs = REFRESH_BEFORE_MS + REFRESH_JITTER_MS * clocks.random()
  return { times, seenAtMs, refreshBeforeMs, quietUntilMs: nowMs + quietMs(left), isDoubted: false }
}

/**
 * How long not to ask again after an answer: a minute at most, and not into the last 15 minutes;
 * within those 1 to 5 s, so that credentials that never live longer do not cost a read upstream each.
 */
function quietMs(left: number): number {
  const most =
    left > SDK_STALE_MS
      ? Math.min(SAME_AGAIN_MS.most, left - SDK_STALE_MS)
      : Math.min(5000, left / 60)
  return Math.max(SAME_AGAIN_MS.least, most)
}

function lifeLeftMs(
  held: HeldCredentials,
  clocks: Clocks,
  nowMs: number = clocks.bootTimeMs(),
): number {
  return leftMs(held.times, clocks.wallTimeMs(), nowMs - held.seenAtMs)
}

/**
 * What a reader gets of it.
 *
 * @param nowMs of boot time
 */
export function conditionOf(
  entry: Entry,
  clocks: Clocks,
  nowMs: number = clocks.bootTimeMs(),
): Condition {
  if (entry.credentials !== undefined) {
    return conditionOfCredentials(entry.credentials, clocks, nowMs)
  }
  const ageMs = nowMs - entry.fetchedAtMs
  if (ageMs < entry.freshMs) return 'fresh'
  return ageMs < entry.staleMs ? 'stale' : 'expired'
}

function conditionOfCredentials(held: HeldCredentials, clocks: Clocks, nowMs: number): Condition {
  const left = lifeLeftMs(held, clocks, nowMs)
  if (left <= 0) return 'expired'
  const isQuiet = left > held.refreshBeforeMs || nowMs < held.quietUntilMs
  if (isQuiet && !held.isDoubted) return 'fresh'
  return left > SDK_STALE_MS ? 'refresh-soon' : 'must-refresh'
}

/** What the cache holds credentials as: with the values that are missed most. */
export const CREDENTIALS_RANK = 2

/** How the cache holds it; undefined if it is for its askers only. */
export function holdingOf(entry: Entry): Holding | undefined {
  if (entry.lifetime === 'once') return undefined
  const bytes =
    entry.item === undefined ? 0 : entry.item.body.length + entry.item.contentType.length
  if (entry.item === undefined)
    return { bytes, rank: 0, endsAtMs: entry.fetchedAtMs + entry.staleMs }
  if (entry.credentials !== undefined) {
    const { seenAtMs, times } = entry.credentials
    return { bytes, rank: CREDENTIALS_RANK, endsAtMs: seenAtMs + times.lifeMs }
  }
  const rank = entry.lifetime === 'boot' ? 2 : 1
  return { bytes, rank, endsAtMs: entry.fetchedAtMs + entry.staleMs }
}

function requirePlainLine(body: Buffer): void {
  if (!PLAIN_LINE.test(body.subarray(0, 514).toString('latin1'))) {
    throw new MetabindError('SOURCE_NONSENSE', 'not one line of text, on a path that has one')
  }
}
