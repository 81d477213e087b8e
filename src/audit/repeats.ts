import { openCounts } from '../open-counts.ts'
import { ratePerUid } from '../rate-limit.ts'
import { type Owner, ROOT } from '../shares.ts'
import type { AuditRecord } from './audit.ts'
import { type Counted, type LinesLeft, OTHERS, type WriteRecord } from './counted.ts'
import { isOfContainer } from './owner.ts'

const EVERY_MS = 1000
/** Events of one owner that are recorded one by one although they repeat: what programs do that ask for what they need. */
export const ONE_BY_ONE = { perSecond: 1, burst: 100 }
/** Lines of one owner. */
export const ALLOWED = { perSecond: 16, burst: 200 }
/** Events of one owner that are told apart within a second; of others only the event and the user are kept. */
const REPEATS_PER_OWNER_MAX = 64
const REPEATS_MAX = 2048

interface Repeated {
  readonly owner: Owner
  record: AuditRecord
  /** When the last that was counted happened, by the wall clock. */
  atMs: number
  /** Since one was written. */
  count: number
}

/**
 * Allowed events: each is recorded at once. When an owner causes many, those that are like one within the
 * last second are counted, and recorded as one each second, with the number (`count`) and the process that
 * caused the last of them. So a program that makes a thousand tokens a second is two lines a second, and
 * nothing of what it did is left out.
 */
export function repeats(clockMs: () => number, linesLeft: LinesLeft, write: WriteRecord): Counted {
  const rates = { host: ratePerUid(ALLOWED, clockMs), container: ratePerUid(ALLOWED, clockMs) }
  const singles = {
    host: ratePerUid(ONE_BY_ONE, clockMs),
    container: ratePerUid(ONE_BY_ONE, clockMs),
  }
  const entries = new Map<string, Repeated>()
  const ofOwner = openCounts<Owner>()
  let timer: NodeJS.Timeout | undefined

  const takeOf = (of: typeof rates, record: AuditRecord): boolean =>
    (isOfContainer(record) ? of.container : of.host).take(record.caller?.uid) === 0
  const mayWrite = (record: AuditRecord, owner: Owner): boolean =>
    takeOf(rates, record) && linesLeft(owner)
  const remember = (key: string, entry: Repeated): void => {
    entries.set(key, entry)
    ofOwner.add(entry.owner, 1)
  }
  const forget = (key: string, { owner }: Repeated): void => {
    entries.delete(key)
    ofOwner.remove(owner, 1)
  }
  const writeCount = (key: string, entry: Repeated): void => {
    write(counted(entry), entry.owner, timeOf(entry.atMs))
    entry.count = 0
    // Behind those that have waited longer, should lines be scarce.
    entries.delete(key)
    entries.set(key, entry)
  }
  const report = (): void => {
    for (const [key, entry] of [...entries]) {
      if (entry.count === 0) forget(key, entry)
      else if (mayWrite(entry.record, entry.owner)) writeCount(key, entry)
    }
    timer = entries.size === 0 ? undefined : setTimeout(report, EVERY_MS).unref()
  }
  /** What it is counted as: itself; an event of its owner, of whom there is too much; an event of anybody. */
  const countedAs = (record: AuditRecord, owner: Owner): [string, Owner, AuditRecord] => {
    const exact = keyOf(record, owner)
    const held = ofOwner.of(owner)
    const hasRoom = entries.size < REPEATS_MAX || owner === ROOT
    if (entries.has(exact) || (held < REPEATS_PER_OWNER_MAX && hasRoom))
      return [exact, owner, record]
    const { event, caller } = record
    if (held > 0 && (entries.size < 2 * REPEATS_MAX || owner === ROOT)) {
      return [`${event}\n${owner}`, owner, { event, caller }]
    }
    return [event, OTHERS, { event }]
  }
  return {
    take: (record, owner) => {
      // One for each caller and path at all: `metabind policy suggest` learns from them.
      if (record.event === 'policy.seen' && mayWrite(record, owner)) {
        write(record, owner)
        return true
      }
      const [key, countedFor, kept] = countedAs(record, owner)
      const entry = entries.get(key)
      timer ??= setTimeout(report, EVERY_MS).unref()
      const atMs = Date.now()
      if (entry !== undefined) {
        const isWritten = takeOf(singles, record) && mayWrite(record, owner)
        if (isWritten) write(record, owner, timeOf(atMs))
        else count(entry, kept, atMs)
        return isWritten
      }
      const isWritten = mayWrite(record, owner)
      remember(key, { owner: countedFor, record: kept, atMs, count: isWritten ? 0 : 1 })
      if (isWritten) write(record, owner, timeOf(atMs))
      return isWritten
    },
    end: () => {
      clearTimeout(timer)
      for (const [key, entry] of [...entries]) if (entry.count > 0) writeCount(key, entry)
    },
  }
}

function count(entry: Repeated, record: AuditRecord, atMs: number): void {
  entry.record = record
  entry.atMs = atMs
  entry.count += 1
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString()
}

/** One request is told as it was; of several only what they have in common, and the last process. */
function counted({ record, count }: Repeated): AuditRecord {
  return count === 1 ? record : { ...record, id: undefined, ttlSeconds: undefined, count }
}

/** Without the process: whoever starts one for each request is one caller all the same. */
function keyOf(record: AuditRecord, owner: Owner): string {
  const { event, caller, rule, detail, path, audience } = record
  const { unit, container, executable } = caller ?? {}
  return JSON.stringify([event, owner, unit, container, executable, rule, detail, path, audience])
}
