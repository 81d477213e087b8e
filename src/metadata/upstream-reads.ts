import { MetabindError, RoleError } from '../errors.ts'
import { backoff } from './backoff.ts'
import type { Cache } from './cache.ts'
import {
  CREDENTIALS_RANK,
  doubted,
  type Entry,
  type EntryDeps,
  holdingOf,
  makeEntry,
} from './freshness.ts'
import { contradictedBy } from './held-roles.ts'
import type { LifetimeOf } from './lifetimes.ts'
import { type RefusedRole, roleRefusals } from './role-refusals.ts'
import { type Flight, singleflight } from './singleflight.ts'
import { type Source, SourceStatusError } from './source.ts'

/** What is asked of the source. */
export interface Question {
  /** Path and query: what is shared between those who ask for the same. */
  readonly target: string
  readonly path: string
  readonly query: string | undefined
}

/** Told of what happens upstream. */
interface UpstreamEvents {
  /** The source has fallen silent, or speaks again. */
  readonly onSource: (isDown: boolean) => void
  /** Credentials that are held could not be refreshed; up to once a second. */
  readonly onRefreshFailed: (path: string, error: unknown) => void
  /** The source spoke, and not what can be used; once, until the path fares otherwise. */
  readonly onUnusable: (path: string, error: unknown) => void
  /** The cloud gives no credentials for a role, but a Code: once. Undefined: it gives them again. */
  readonly onRole: (path: string, code: string | undefined) => void
  /** A value has been kept that was not before, or is newer, or is no longer kept. */
  readonly onKept: () => void
}

/** What reads work with. */
export interface UpstreamDeps extends EntryDeps, UpstreamEvents {
  readonly source: Source
  readonly lifetimeOf: LifetimeOf
  /** No reader waits longer for the source. SDKs give up after 1,000 ms. */
  readonly answerWithinMs: number
}

/** Counted since the start. */
export interface UpstreamState {
  readonly upstreamReads: number
  readonly upstreamFailures: number
  /** Now, late ones included. */
  readonly upstreamUnderWay: number
  readonly sourceIsDown: boolean
  /** Roles that the cloud gives no credentials for. */
  readonly refusedRoles: readonly RefusedRole[]
}

/** Reads upstream: what they bring goes into the store, whoever waits for it. */
export interface UpstreamReads {
  underWay(target: string): Flight<Entry> | undefined
  /** The read under way, or a new one. */
  ask(question: Question): Flight<Entry>
  /**
   * As ask; undefined while failures of late hold it back.
   *
   * @param hasOld whether an old answer can be given instead; the source is then asked more seldom
   */
  askUnlessHeld(question: Question, hasOld: boolean): Flight<Entry> | undefined
  /** Whether it would be held back, for somebody who has no old answer. */
  isHeld(target: string): boolean
  /** Why it is held back. */
  reason(target: string): MetabindError
  readonly state: UpstreamState
}

export function upstreamReads(store: Cache<Entry>, deps: UpstreamDeps): UpstreamReads {
  const { source, clocks, lifetimeOf } = deps
  const flights = singleflight<Entry>(deps.answerWithinMs)
  const failures = backoff(clocks.bootTimeMs, clocks.random)
  const roles = roleRefusals()
  const counted = { upstreamReads: 0, upstreamFailures: 0 }

  const noting = <T>(change: () => T): T => {
    const wasDown = failures.isDown
    const result = change()
    if (failures.isDown !== wasDown) deps.onSource(failures.isDown)
    return result
  }
  // Not of every rank: anybody can ask for roles that do not exist, and there may be a million entries.
  const credentialsHeld = () => store.entries(CREDENTIALS_RANK)
  const keep = ({ target, path }: Question, entry: Entry, before: Entry | undefined): Entry => {
    noting(() => failures.answered(target))
    const holding = holdingOf(entry)
    if (holding === undefined) return entry
    store.set(target, entry, holding)
    if (entry.item !== undefined || before?.item !== undefined) deps.onKept()
    if (roles.ended(path)) deps.onRole(path, undefined)
    for (const gone of contradictedBy(target, entry, lifetimeOf, credentialsHeld)) doubt(gone)
    return entry
  }
  const read = async (question: Question): Promise<Entry> => {
    const { target, path, query } = question
    const item = await source.read(path, query).catch(absentAsUndefined)
    const before = store.get(target)
    return keep(question, makeEntry(item, lifetimeOf(path, query), before, deps), before)
  }
  const fail = ({ target, path }: Question, thrown: unknown): void => {
    counted.upstreamFailures += 1
    const error =
      thrown instanceof MetabindError ? thrown : new MetabindError('INTERNAL', '', thrown)
    const before = noting(() => failures.failed(target, error, isSilence(error)))
    const held = store.get(target)?.credentials
    if (held?.isDoubted && isRefusal(error)) {
      store.delete(target)
      deps.onKept()
    }
    if (error instanceof RoleError) {
      if (roles.refused(path, error.roleCode)) deps.onRole(path, error.roleCode)
    } else if (held !== undefined) deps.onRefreshFailed(path, error)
    else if (!isSilence(error) && before?.code !== error.code) deps.onUnusable(path, error)
  }
  const launch = (question: Question): Flight<Entry> => {
    counted.upstreamReads += 1
    const flight = flights.launch(question.target, read(question))
    flight.landed.catch((error: unknown) => fail(question, error))
    return flight
  }
  const askUnlessHeld = (question: Question, hasOld: boolean): Flight<Entry> | undefined =>
    flights.underWay(question.target) ??
    (failures.mayAsk(question.target, hasOld) ? launch(question) : undefined)
  const doubt = (path: string): void => {
    const entry = store.get(path)
    const holding = entry === undefined ? undefined : holdingOf(entry)
    if (entry === undefined || holding === undefined) return
    store.set(path, doubted(entry), holding)
    askUnlessHeld(ofPath(path), true)
  }

  return {
    underWay: flights.underWay,
    ask: (question) => flights.underWay(question.target) ?? launch(question),
    askUnlessHeld,
    isHeld: (target) => failures.isHeldBack(target, false),
    reason: failures.reason,
    get state() {
      const now = { upstreamUnderWay: flights.count, sourceIsDown: failures.isDown }
      return { ...counted, ...now, refusedRoles: roles.list() }
    },
  }
}

/** The question for a path without a query. */
export function ofPath(path: string): Question {
  return { target: path, path, query: undefined }
}

function absentAsUndefined(error: unknown): undefined {
  if (!(error instanceof MetabindError) || error.code !== 'METADATA_ABSENT') throw error
}

/** No connection or no answer has a cause below it or is late; an answer with an error is no silence. */
function isSilence(error: MetabindError): boolean {
  return error.code === 'SOURCE_DOWN' && error.cause !== undefined
}

// About the request's token, its time or its number, and not about what it asks for.
const NO_REFUSALS: readonly number[] = [401, 408, 429]

/** Whether the source says no to what is asked for, rather than being in trouble. */
function isRefusal(error: MetabindError): boolean {
  if (error instanceof RoleError) return true
  if (!(error instanceof SourceStatusError)) return false
  return error.status < 500 && !NO_REFUSALS.includes(error.status)
}
