import { shownCaller } from '../caller/shown.ts'
import type { Log } from '../log.ts'
import { OWNER } from '../shares.ts'
import { type Audit, type AuditRecord, EVENTS } from './audit.ts'
import { linesOfUsers, type WriteRecord } from './counted.ts'
import type { AuditFile } from './file.ts'
import { isRefusal, recordOwner } from './owner.ts'
import { repeats } from './repeats.ts'
import { suppression } from './suppression.ts'

/** Where audit records go. */
export interface AuditWriter {
  readonly audit: Audit
  /** Writes what was only counted so far. */
  end(): void
}

/** What is counted of audit records. */
export interface AuditWatcher {
  onRecord(): void
  onSuppressed(): void
}

const TEXT_CHARACTERS_MAX = 512

/** Where records are written. */
export interface AuditPlaces {
  /** They are marked there, so that they can be told from its other lines; its level does not matter. */
  readonly log: Log
  /** Whether all of them go to the log; otherwise only those that may not get into the file. */
  readonly isAllLogged: boolean
  /** The hash chain, if one is configured. */
  readonly file: AuditFile | undefined
}

/**
 * @param clockMs a clock that never jumps
 */
export function auditWriter(
  { log, isAllLogged, file }: AuditPlaces,
  clockMs: () => number,
  watcher: AuditWatcher,
): AuditWriter {
  // A child keeps its own level: `log.level = "error"` must not end the audit trail.
  const records = log.child({ audit: true }, { level: 'notice' })
  let lastSeq = 0
  const write: WriteRecord = (record, owner, time = new Date().toISOString()) => {
    const [verdict, level] = EVENTS[record.event]
    const { event } = record
    const fields = { ...bounded(record), verdict }
    const appended = file?.append({ time, event, ...fields }, owner)
    lastSeq = appended?.seq ?? lastSeq + 1
    if (isAllLogged || (appended?.isInDoubt ?? true)) {
      records[level]({ seq: lastSeq, ...fields, [OWNER]: owner }, event)
    }
    watcher.onRecord()
  }
  const linesLeft = linesOfUsers(clockMs)
  const refusals = suppression(clockMs, linesLeft, write)
  const allowed = repeats(clockMs, linesLeft, write)
  const audit: Audit = (given) => {
    const { caller } = given
    const record = caller === undefined ? given : { ...given, caller: shownCaller(caller) }
    const owner = recordOwner(record)
    if (isRefusal(record)) {
      if (!refusals.take(record, owner)) watcher.onSuppressed()
    } else if (caller !== undefined && EVENTS[record.event][0] === 'allowed') {
      allowed.take(record, owner)
    } else write(record, owner)
  }
  return {
    audit,
    end: () => {
      refusals.end()
      allowed.end()
    },
  }
}

/** No text is longer than the bound, whoever chose it; JSON makes six bytes of a character at most. */
function bounded(record: AuditRecord): object {
  const { caller, ...rest } = record
  const texts = cut(rest)
  return caller === undefined ? texts : { ...texts, caller: cut(caller) }
}

function cut(fields: object): object {
  const isLong = (value: unknown) => typeof value === 'string' && value.length > TEXT_CHARACTERS_MAX
  if (!Object.values(fields).some(isLong)) return fields
  const entries = Object.entries(fields).map(([name, value]) => [
    name,
    isLong(value) ? `${String(value).slice(0, TEXT_CHARACTERS_MAX)}…` : value,
  ])
  return Object.fromEntries(entries)
}
