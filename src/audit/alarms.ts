import type { Caller } from '../caller/caller.ts'
import { rowOwner, rowsOfLargest } from '../caller/row-owner.ts'
import { shownCaller } from '../caller/shown.ts'
import type { AuditRecord } from './audit.ts'

/** Tokens of other instances that one caller's user, unit or container has presented here. */
export interface Alarm {
  readonly id: number
  /** Whose alarms make room for it. */
  readonly owner: string
  /** The last caller, if it could be named. A copy: what is remembered for a connection ends with it. */
  caller: Caller | undefined
  uid: number | undefined
  /** What the last token says of the instance that made it. */
  identity: string
  count: number
  readonly firstAtMs: number
  lastAtMs: number
  /** Somebody has seen it, and none came since. */
  acknowledged: { readonly atMs: number; readonly uid: number } | undefined
}

/** What somebody ought to look at. Kept in memory only: the audit records are what lasts. */
export interface Alarms {
  /** Looks at an audit record. */
  note(record: AuditRecord): void
  /** @returns the alarm, or undefined if there is none of this number */
  acknowledge(id: number, by: Caller): Alarm | undefined
  /** Not acknowledged ones first, then the most recent. */
  list(): readonly Alarm[]
}

export const ALARMS_MAX = 64
const TEXT_CHARACTERS_MAX = 256

/**
 * One alarm for each user, unit and container, whatever number of tokens it presents: an instance that a
 * token names is not proven, so a user could name any number of them.
 *
 * @param wallTimeMs for people who read it
 */
export function alarms(wallTimeMs: () => number): Alarms {
  const byCaller = new Map<string, Alarm>()
  let made = 0
  const list = () =>
    [...byCaller.values()].sort(
      (one, other) => rank(other) - rank(one) || other.lastAtMs - one.lastAtMs,
    )
  const make = (key: string, owner: string): Alarm => {
    made += 1
    const nowMs = wallTimeMs()
    const unknown = { caller: undefined, uid: undefined, identity: '', acknowledged: undefined }
    const alarm = { id: made, owner, ...unknown, count: 0, firstAtMs: nowMs, lastAtMs: nowMs }
    byCaller.set(key, alarm)
    return alarm
  }
  return {
    note: ({ event, caller: presenter, uid, detail = '' }) => {
      if (event !== 'token.foreign') return
      const caller = presenter && shownCaller(presenter)
      const key = `${caller?.uid ?? uid} ${caller?.unit} ${caller?.container} ${caller?.namespaces}`
      const alarm = byCaller.get(key) ?? make(key, rowOwner(caller))
      alarm.caller = caller
      alarm.uid = caller?.uid ?? uid
      alarm.identity = detail.slice(0, TEXT_CHARACTERS_MAX)
      alarm.count += 1
      alarm.lastAtMs = wallTimeMs()
      alarm.acknowledged = undefined
      if (byCaller.size > ALARMS_MAX) dropLast(byCaller, list(), alarm)
    },
    acknowledge: (id, by) => {
      const alarm = list().find((one) => one.id === id)
      if (alarm !== undefined) alarm.acknowledged = { atMs: wallTimeMs(), uid: by.uid }
      return alarm
    },
    list,
  }
}

function rank({ acknowledged }: Alarm): number {
  return acknowledged === undefined ? 1 : 0
}

/**
 * Acknowledged ones go first; of the others, of whoever has most, the one that is longest ago, but never the one that
 * just came.
 */
function dropLast(byCaller: Map<string, Alarm>, sorted: readonly Alarm[], newest: Alarm): void {
  const others = sorted.filter((one) => one !== newest)
  const seen = others.findLast((one) => rank(one) === 0)
  const last = seen ?? rowsOfLargest(others).at(-1)
  for (const [key, alarm] of byCaller) if (alarm === last) byCaller.delete(key)
}
