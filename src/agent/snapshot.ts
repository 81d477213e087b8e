import { bootTimeMs } from 'metabind-linux'
import type { AgentStatus, Observed, Snapshot } from '../admin-api.ts'
import type { Alarm } from '../audit/alarms.ts'
import type { Caller } from '../caller/caller.ts'
import { NONE } from '../policy/policy.ts'
import type { ReaderRow } from '../policy/readers.ts'
import { SNAPSHOT_VERSION, type SnapshotAlarm, type SnapshotReader } from '../snapshot-api.ts'
import { accountNames } from './account-names.ts'
import { type AgentParts, problemOf } from './parts.ts'
import { proofChain } from './proof-chain.ts'

/** Rows of each list that are shown; the most recent first, and how many are left out. */
const ROWS_MAX = 100
/** So much is sent to each who looks, at most once a second. If rows are long, fewer are shown. */
export const PAGE_BYTES_MAX = 262_144
const TEXT_CHARACTERS_MAX = 256

/** All that the status page shows. Nothing is kept for it that is not counted anyway. */
export function snapshotForPage(parts: AgentParts, status: AgentStatus): Snapshot {
  return withinBytes((rowsMax) => withRows(parts, status, rowsMax))
}

/** Makes it with fewer rows, until it is short enough as JSON. */
export function withinBytes<Made>(make: (rowsMax: number) => Made): Made {
  let rowsMax = ROWS_MAX
  let made = make(rowsMax)
  while (rowsMax > 1 && Buffer.byteLength(JSON.stringify(made)) > PAGE_BYTES_MAX) {
    rowsMax = Math.floor(rowsMax / 2)
    made = make(rowsMax)
  }
  return made
}

function withRows(parts: AgentParts, status: AgentStatus, rowsMax: number): Snapshot {
  const userOf = accountNames()
  const readers = parts.readers.rows()
  const alarms = parts.trail.alarms.list()
  const direct = (parts.state.served?.observed() ?? []).toReversed()
  return {
    snapshot: SNAPSHOT_VERSION,
    at: isoTime(Date.now()),
    status,
    proof: proofChain(parts.startup.state, problemOf(parts)).map((link) => ({
      ...link,
      sentence: cut(link.sentence),
    })),
    alarms: alarms.slice(0, rowsMax).map((alarm) => alarmRow(alarm, userOf)),
    alarmsMore: Math.max(0, alarms.length - rowsMax),
    readers: readers.slice(0, rowsMax).map((row) => readerRow(row, userOf)),
    readersMore: Math.max(0, readers.length - rowsMax),
    ...tokensAndAudit(parts),
    ...cacheAndSource(parts, rowsMax),
    direct: direct.slice(0, rowsMax).map(directRow),
    directMore: Math.max(0, direct.length - rowsMax),
    directTokenless: direct.filter(({ readsWithoutToken }) => readsWithoutToken > 0).length,
  }
}

function tokensAndAudit({ counters, trail }: AgentParts) {
  const checkpoint = trail.lastCheckpoint()
  return {
    tokens: { issued: counters.tokensIssued, perMinute: trail.tokenRates.perMinute() },
    auditCounts: {
      records: counters.auditRecords,
      suppressed: counters.auditSuppressed,
      lost: counters.auditLost,
      checkpoint: checkpoint && { ...checkpoint.of, at: isoTime(checkpoint.atMs) },
    },
  }
}

function cacheAndSource({ cache, source }: AgentParts, rowsMax: number) {
  const { state } = cache.metadata
  const { entries, bytes, hits, misses, stale } = state
  const held = cache.metadata.held()
  const { answeredAtMs, failure } = source.last
  return {
    cache: {
      ...{ entries, bytes, hits, misses, stale },
      held: held.slice(0, rowsMax).map(({ path, condition, fetchedAtMs }) => ({
        path: cut(path),
        condition,
        fetchedAt: isoTime(fetchedAtMs + BOOTED_AT_MS),
      })),
      heldMore: Math.max(0, held.length - rowsMax),
    },
    source: {
      isDown: state.sourceIsDown,
      reads: state.upstreamReads,
      failures: state.upstreamFailures,
      answeredAt: answeredAtMs === undefined ? undefined : isoTime(answeredAtMs),
      failure: failure && {
        code: failure.error.code,
        sentence: cut(failure.error.message),
        at: isoTime(failure.atMs),
      },
    },
  }
}

type UserOf = (uid: number) => string | undefined

function readerRow(row: ReaderRow, userOf: UserOf): SnapshotReader {
  const { allowed, 'would-refuse': wouldRefuse, refused } = row.counts
  return {
    id: row.id,
    ...who(row.caller, row.caller.uid, userOf),
    isPlaced: row.isPlaced,
    kind: row.kind,
    ...{ allowed, wouldRefuse, refused },
    lastPath: cut(row.path),
    lastVerdict: row.lastVerdict,
    lastAt: isoTime(row.lastAtMs),
  }
}

function alarmRow(alarm: Alarm, userOf: UserOf): SnapshotAlarm {
  const { id, caller, uid, identity, count, acknowledged } = alarm
  return {
    id,
    ...who(caller, uid, userOf),
    isPlaced: caller !== undefined,
    pid: caller?.pid,
    identity: cut(identity),
    count,
    firstAt: isoTime(alarm.firstAtMs),
    lastAt: isoTime(alarm.lastAtMs),
    acknowledged: acknowledged && { at: isoTime(acknowledged.atMs), uid: acknowledged.uid },
  }
}

function who(caller: Caller | undefined, uid: number | undefined, userOf: UserOf) {
  const { unit, namespaces = [] } = caller ?? {}
  const container = caller?.container ?? (namespaces.length > 0 ? NONE : undefined)
  return {
    uid,
    // Of a user in a container the names here say nothing.
    user: uid === undefined || container !== undefined ? undefined : userOf(uid),
    unit: unit && cut(unit),
    container: container && cut(container),
  }
}

function directRow(row: Observed): Observed {
  const { unit, container } = row
  return {
    ...row,
    ...(unit === undefined ? {} : { unit: cut(unit) }),
    ...(container === undefined ? {} : { container: cut(container) }),
    lastPath: cut(row.lastPath),
  }
}

function cut(text: string): string {
  return text.length <= TEXT_CHARACTERS_MAX ? text : `${text.slice(0, TEXT_CHARACTERS_MAX)}…`
}

/** Once: what was fetched when stays the same, whoever sets the wall clock. */
const BOOTED_AT_MS = Date.now() - bootTimeMs()

function isoTime(wallMs: number): string {
  return new Date(wallMs).toISOString()
}
