import type { ErrorCode } from '../errors.ts'
import type { Checkpoint } from '../format/audit-chain.ts'
import type { Log } from '../log.ts'
import type { AuditFile } from './audit-file.ts'
import type { Caller } from './caller.ts'
import { ratePerUid } from './rate.ts'

type Verdict = 'allowed' | 'refused' | 'done'
type Level = 'error' | 'warn' | 'notice'

/** Every event there is, with its verdict and the level that it has in the log. */
export const EVENTS = {
  'token.issued': ['allowed', 'notice'],
  'token.refused': ['refused', 'warn'],
  'token.foreign': ['refused', 'warn'],
  'token.revoked': ['done', 'warn'],
  'secret.read': ['allowed', 'notice'],
  'policy.refused': ['refused', 'warn'],
  'policy.would-refuse': ['allowed', 'warn'],
  'policy.seen': ['allowed', 'notice'],
  'policy.loaded': ['done', 'notice'],
  'policy.not-loaded': ['refused', 'error'],
  'policy.unknown-accounts': ['done', 'warn'],
  'identity.issued': ['allowed', 'notice'],
  'evidence.made': ['allowed', 'notice'],
  'challenge.answered': ['allowed', 'notice'],
  'instance.changed': ['done', 'warn'],
  'request.refused': ['refused', 'warn'],
  'limit.refused': ['refused', 'warn'],
  'agent.started': ['done', 'notice'],
  'agent.ended': ['done', 'notice'],
  'agent.stopped': ['done', 'error'],
  'agent.resumed': ['done', 'notice'],
  'config.reloaded': ['done', 'notice'],
  'config.refused': ['refused', 'error'],
  'lockdown.on': ['done', 'notice'],
  'lockdown.off': ['done', 'warn'],
  'self-test.passed': ['allowed', 'notice'],
  'self-test.failed': ['refused', 'error'],
  'audit.suppressed': ['done', 'warn'],
  'chain.checkpoint': ['done', 'notice'],
} as const satisfies Record<string, readonly [Verdict, Level]>

export type AuditEvent = keyof typeof EVENTS

/** One decision that matters, for whoever must answer later who did what. Holds nothing secret. */
export interface AuditRecord {
  readonly event: AuditEvent
  /** Of the request that it was decided on; refused callers are told it. */
  readonly id?: string | undefined
  readonly caller?: Caller | undefined
  /** The user of a connection whose caller could not be identified. */
  readonly uid?: number | undefined
  /** What decided: a rule of the policy, or one of the limits. */
  readonly rule?: string | number | undefined
  readonly code?: ErrorCode
  readonly detail?: string | undefined
  readonly path?: string
  readonly ttlSeconds?: number
  /** How many records were left out. */
  readonly suppressed?: number
  readonly checkpoint?: Checkpoint
}

/** Writes one audit record. Returns at once and never fails. */
export type Audit = (record: AuditRecord) => void

/** What is counted of audit records. */
export interface AuditWatcher {
  onRecord(): void
  onSuppressed(): void
}

// Refusals cost their caller nothing, so one uid may cause so many records of them; the rest of a
// flood is counted, and the number recorded every ten seconds.
const REFUSALS = { perSecond: 20, burst: 200 }
const SUPPRESSED_EVERY_MS = 10_000
const DETAIL_CHARACTERS_MAX = 512
/** More uids than this are counted together. */
const UIDS_MAX = 4096
const OTHER_UIDS = -1

/**
 * @param log where records go, marked so that they can be told from its other lines; its level does not matter
 * @param file the hash chain, where one is configured
 */
export function auditTo(
  log: Log,
  file: AuditFile | undefined,
  clockMs: () => number,
  watcher: AuditWatcher,
): Audit {
  // A child keeps its own level: `log.level = "error"` must not end the audit trail.
  const records = log.child({ audit: true }, { level: 'notice' })
  let lastSeq = 0
  const write: Audit = (record) => {
    const [verdict, level] = EVENTS[record.event]
    const detail = record.detail?.slice(0, DETAIL_CHARACTERS_MAX)
    const fields = { ...record, verdict, ...(detail === undefined ? {} : { detail }) }
    lastSeq = file?.append({ time: new Date().toISOString(), ...fields }) ?? lastSeq + 1
    records[level]({ seq: lastSeq, ...fields }, record.event)
    watcher.onRecord()
  }
  const suppress = suppression(clockMs, write)
  return (record) => {
    const isRefusal = EVENTS[record.event][0] === 'refused' && record.caller !== undefined
    if (isRefusal && suppress(record.caller.uid)) watcher.onSuppressed()
    else write(record)
  }
}

/** @returns whether a refusal of this uid is left out; the count of those is recorded by itself */
function suppression(clockMs: () => number, write: Audit): (uid: number) => boolean {
  const refusals = ratePerUid(REFUSALS, clockMs)
  const suppressed = new Map<number, number>()
  const report = (): void => {
    for (const [uid, count] of suppressed) {
      const whose = uid === OTHER_UIDS ? 'uids beyond those remembered' : `uid ${uid}`
      write({ event: 'audit.suppressed', detail: whose, suppressed: count })
    }
    suppressed.clear()
  }
  return (uid) => {
    if (refusals.take(uid) === 0) return false
    if (suppressed.size === 0) setTimeout(report, SUPPRESSED_EVERY_MS).unref()
    const counted = suppressed.has(uid) || suppressed.size < UIDS_MAX ? uid : OTHER_UIDS
    suppressed.set(counted, (suppressed.get(counted) ?? 0) + 1)
    return true
  }
}
