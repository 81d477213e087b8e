import type { RefusedRole } from '../admin-api.ts'
import { MetabindError, RoleError } from '../errors.ts'
import type { Backoff } from './backoff.ts'
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
import { roleRefusals } from './role-refusals.ts'
import { type Item, SourceStatusError } from './source.ts'
import { keyOf, type Target } from './target.ts'

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
  /** A value has been cached that was not before, or is newer, or is no longer cached. */
  readonly onCached: () => void
}

/** What is made of answers with. */
export interface OutcomeDeps extends EntryDeps, UpstreamEvents {
  readonly lifetimeOf: LifetimeOf
}

/** What a read upstream changes, however it ends: cache, backoff, and who is told. */
interface Outcomes {
  /**
   * @param item undefined: the source said that there is no such path
   * @returns the entry that it makes, whether or not it is one to keep
   * @throws MetabindError SOURCE_NONSENSE, SOURCE_ROLE if the answer must not be used
   */
  answered(target: Target, item: Item | undefined): Entry
  failed(target: Target, thrown: unknown): void
  /** Roles that the cloud gives no credentials for. */
  refusedRoles(): readonly RefusedRole[]
}

/** @param refresh asks anew for credentials whose role an answer said to be no more */
export function outcomesIn(
  store: Cache<Entry>,
  backoff: Backoff,
  deps: OutcomeDeps,
  refresh: (path: string) => void,
): Outcomes {
  const { lifetimeOf } = deps
  const roles = roleRefusals()

  const noting = <T>(change: () => T): T => {
    const wasDown = backoff.isDown
    const result = change()
    if (backoff.isDown !== wasDown) deps.onSource(backoff.isDown)
    return result
  }
  // Not of every rank: anybody can ask for roles that do not exist, and there may be a million entries.
  const credentialsHeld = () => store.entries(CREDENTIALS_RANK)
  const doubt = (path: string): void => {
    const entry = store.get(path)
    const holding = entry === undefined ? undefined : holdingOf(entry)
    if (entry === undefined || holding === undefined) return
    store.set(path, doubted(entry), holding)
    refresh(path)
  }

  return {
    answered: (target, item) => {
      const key = keyOf(target)
      const before = store.get(key)
      const entry = makeEntry(item, lifetimeOf(target), before, deps)
      noting(() => backoff.answered(key))
      const holding = holdingOf(entry)
      if (holding === undefined) return entry
      store.set(key, entry, holding)
      if (entry.item !== undefined || before?.item !== undefined) deps.onCached()
      if (roles.ended(target.path)) deps.onRole(target.path, undefined)
      for (const gone of contradictedBy(target.path, entry, lifetimeOf, credentialsHeld))
        doubt(gone)
      return entry
    },
    failed: (target, thrown) => {
      const [{ path }, key] = [target, keyOf(target)]
      const error =
        thrown instanceof MetabindError ? thrown : new MetabindError('INTERNAL', '', thrown)
      const before = noting(() => backoff.failed(key, error, isSilence(error)))
      const held = store.get(key)?.credentials
      if (held?.isDoubted && isRefusal(error)) {
        store.delete(key)
        deps.onCached()
      }
      if (error instanceof RoleError) {
        if (roles.refused(path, error.roleCode)) deps.onRole(path, error.roleCode)
      } else if (held !== undefined) deps.onRefreshFailed(path, error)
      else if (!isSilence(error) && before?.code !== error.code) deps.onUnusable(path, error)
    },
    refusedRoles: roles.list,
  }
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
