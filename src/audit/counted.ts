import { ratePerUid } from '../rate-limit.ts'
import { type Owner, ROOT } from '../shares.ts'
import type { AuditRecord } from './audit.ts'

/** Writes a record. @param time of what it says; now, if absent */
export type WriteRecord = (record: AuditRecord, owner: Owner, time?: string) => void

/** Records that are counted if one owner causes too many, and the counts written from time to time. */
export interface Counted {
  /** Writes the record or counts it. @returns whether it was written */
  take(record: AuditRecord, owner: Owner): boolean
  /** Writes all counts now. */
  end(): void
}

/** What all users together may write; root and the agent are not counted. @returns whether one line more */
export type LinesLeft = (owner: Owner) => boolean

// In any 30 seconds 8000 lines: the journal drops those of everybody beyond 10,000 (RateLimitBurst= of
// journald.conf(5)), and what root and the agent have to say must find room.
export const LINES_OF_USERS = { perSecond: 200, burst: 2000 }
/** More of them are not told apart at one time. */
export const OTHERS: Owner = 'users beyond those remembered'

/** @param clockMs a clock that never jumps */
export function linesOfUsers(clockMs: () => number): LinesLeft {
  const all = ratePerUid(LINES_OF_USERS, clockMs)
  return (owner) => owner === ROOT || all.take(undefined) === 0
}
