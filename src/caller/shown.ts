import type { Caller } from './caller.ts'

/** A caller as records and `whoami` show it. */
export interface ShownCaller extends Caller {
  /** How many supplementary groups it has, if these are more than are shown. */
  readonly groupCount?: number
}

/** Supplementary groups that are shown. A process may have 65,536, which would be half a megabyte of text. */
const GROUPS_MAX = 16

export function shownCaller(caller: Caller): ShownCaller {
  const { groups } = caller
  if (groups.length <= GROUPS_MAX) return caller
  return { ...caller, groups: groups.slice(0, GROUPS_MAX), groupCount: groups.length }
}
