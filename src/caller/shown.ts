import type { Caller } from './caller.ts'
import { LazyCaller } from './lazy-caller.ts'

/** A caller as records and `whoami` show it: a plain object. */
export interface ShownCaller extends Caller {
  /** How many supplementary groups it has, if these are more than are shown. */
  readonly groupCount?: number
}

/** Supplementary groups that are shown. A process may have 65,536, which would be half a megabyte of text. */
const GROUPS_MAX = 16

/** @throws MetabindError CALLER_UNKNOWN if not all of it can be read any more */
export function shownCaller(caller: Caller): ShownCaller {
  const { pid, uid, gid, groups, unit, slice, container, namespaces, executable } = caller
  const known = { unit, slice, container, namespaces, executable }
  if (groups.length <= GROUPS_MAX) return { pid, uid, gid, groups, ...known }
  const groupCount = groups.length
  return { pid, uid, gid, groups: groups.slice(0, GROUPS_MAX), groupCount, ...known }
}

/**
 * Reads what of a caller has not been read.
 *
 * @throws MetabindError CALLER_UNKNOWN if it cannot be read any more, LIMIT_CONNECTIONS if it cannot be now
 */
export function requireRead(caller: Caller): void {
  void caller.namespaces
}

/** Whether it is known where the caller stands: see LazyCaller. */
export function isPlaced(caller: Caller): boolean {
  return !(caller instanceof LazyCaller) || caller.isRead
}

/** The caller as a plain object, without what nothing has needed to know of it so far. */
export function knownOf(caller: Caller): Caller {
  const { pid, uid, gid, groups } = caller
  if (!isPlaced(caller)) {
    return { pid, uid, gid, groups, namespaces: [] }
  }
  const { unit, slice, container, namespaces, executable } = caller
  return { pid, uid, gid, groups, unit, slice, container, namespaces, executable }
}
