import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { AuditEvent, AuditRecord } from '../../src/audit/audit.ts'
import { LINE_BYTES_MAX } from '../../src/audit/chain.ts'
import { LINES_OF_USERS } from '../../src/audit/counted.ts'
import { openAuditFile } from '../../src/audit/file.ts'
import { ALLOWED, ONE_BY_ONE } from '../../src/audit/repeats.ts'
import { REFUSALS } from '../../src/audit/suppression.ts'
import { type AuditWriter, auditWriter } from '../../src/audit/writer.ts'
import type { Caller } from '../../src/caller/caller.ts'
import type { Log } from '../../src/log.ts'

type Line = Readonly<Record<string, unknown>>

let lines: Line[]
let longest: number
let nowMs: number
let writer: AuditWriter

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
  lines = []
  longest = 0
  nowMs = 1_000_000
  writer = auditWriter(IN_LOG, () => nowMs, WATCHER)
})

afterEach(() => vi.useRealTimers())

const WATCHER = { onRecord: () => undefined, onSuppressed: () => undefined }
const log: Log = pino<'notice'>(
  { customLevels: { notice: 35 } },
  {
    write: (line) => {
      longest = Math.max(longest, Buffer.byteLength(line))
      lines.push(JSON.parse(line))
    },
  },
)
const IN_LOG = { log, isAllLogged: true, file: undefined }

function pass(ms: number): void {
  nowMs += ms
  vi.advanceTimersByTime(ms)
}

const callerOf = (uid: number, more: Partial<Caller> = {}): Caller => ({
  ...{ pid: 7, uid, gid: uid, groups: [], namespaces: [] },
  ...more,
})
const minted = (uid: number, more: Partial<Caller> = {}): AuditRecord => ({
  event: 'token.issued',
  id: 'of one request',
  caller: callerOf(uid, more),
  ttlSeconds: 60,
})
const linesOf = (event: AuditEvent) => lines.filter((line) => line.event === event)
const countOf = (found: readonly Line[]) =>
  found.reduce((sum, { count }) => sum + (count === undefined ? 1 : Number(count)), 0)

describe('allowed events', () => {
  /** So many of one user, one a millisecond; each from a process of its own. */
  function mint(count: number): void {
    for (let made = 0; made < count; made += 1) {
      writer.audit(minted(1000, { pid: made }))
      pass(1)
    }
  }

  test('a thousand a second of one user are two lines a second, and their number is there', () => {
    mint(10_000)
    expect(lines.length).toBeLessThanOrEqual(ONE_BY_ONE.burst + 10 * ONE_BY_ONE.perSecond + 11)
    expect(countOf(lines)).toBe(10_000)
    expect(lines[0]).toMatchObject({ id: 'of one request', ttlSeconds: 60, caller: { pid: 0 } })
    const second = lines.find(({ count }) => count !== undefined)
    expect(second).toMatchObject({ event: 'token.issued', caller: { uid: 1000, pid: 999 } })
    expect(second).not.toHaveProperty('id')
    expect(second).not.toHaveProperty('ttlSeconds')
  })

  test('a hundred at once are a line each, as they were', () => {
    mint(ONE_BY_ONE.burst)
    expect(lines.map((line) => (line.caller as Caller).pid)).toEqual(
      Array.from({ length: ONE_BY_ONE.burst }, (_, at) => at),
    )
    expect(lines.every(({ id, count }) => id === 'of one request' && count === undefined)).toBe(
      true,
    )
  })

  test('are told apart by user, unit, container and what was read', () => {
    const read = (path: string): AuditRecord => ({ ...minted(1000), event: 'secret.read', path })
    const different = [
      ...[minted(1000), minted(1001), minted(1000, { unit: 'a.service' })],
      ...[minted(1000, { container: 'a' }), read('/latest/a'), read('/latest/b')],
    ]
    for (const uid of [1000, 1001]) {
      for (let made = 0; made < 110; made += 1) writer.audit(minted(uid, { unit: 'busy.service' }))
    }
    lines = []
    for (const record of [...different, ...different]) writer.audit(record)
    expect(lines).toHaveLength(different.length)
    pass(1000)
    const isBusy = ({ caller }: Line) => (caller as Caller).unit === 'busy.service'
    expect(lines.filter((line) => !isBusy(line))).toHaveLength(2 * different.length)
  })

  test('of one user take a bounded number of lines, however different they are', () => {
    for (let second = 0; second < 5; second += 1) {
      for (let made = 0; made < 1000; made += 1) {
        const path = `/latest/${second}/${made}`
        writer.audit({ event: 'policy.would-refuse', caller: callerOf(1000), path })
        pass(1)
      }
    }
    expect(lines.length).toBeLessThanOrEqual(ALLOWED.burst + 5 * ALLOWED.perSecond)
    writer.end()
    expect(countOf(lines)).toBe(5000)
  })

  test('of a policy on trial are a line for each path, as the suggestion of a policy needs them', () => {
    for (let read = 0; read < 150; read += 1) {
      writer.audit({ event: 'policy.seen', caller: callerOf(1000), path: `/latest/${read}` })
    }
    expect(lines.map(({ path }) => path)).toEqual(
      Array.from({ length: 150 }, (_, at) => `/latest/${at}`),
    )
  })

  test('are written when the agent ends, though their second is not over', () => {
    mint(500)
    expect(countOf(lines)).toBeLessThan(500)
    writer.end()
    expect(countOf(lines)).toBe(500)
  })

  test('whatever comes, the numbers in the lines add up to what was', () => {
    const step = fc.record({
      uid: fc.integer({ min: 0, max: 3 }),
      path: fc.nat(50),
      ms: fc.nat(50),
    })
    fc.assert(
      fc.property(fc.array(step, { minLength: 100, maxLength: 1000 }), (steps) => {
        lines = []
        writer = auditWriter(IN_LOG, () => nowMs, WATCHER)
        const events = new Map<number, number>()
        for (const { uid, path, ms } of steps) {
          writer.audit({ event: 'secret.read', caller: callerOf(uid), path: `/${path}` })
          events.set(uid, (events.get(uid) ?? 0) + 1)
          pass(ms)
        }
        writer.end()
        const told = new Map<number, number>()
        for (const line of lines) {
          const { uid } = line.caller as Caller
          told.set(uid, (told.get(uid) ?? 0) + countOf([line]))
        }
        expect(told).toEqual(events)
      }),
      { numRuns: 50 },
    )
  })
})

describe('refusals', () => {
  const refused = (more: Partial<AuditRecord>): AuditRecord => ({
    ...{ event: 'request.refused', code: 'CALLER_UNKNOWN', path: '/' },
    ...more,
  })

  test.each([
    ['without a caller', {}, 'callers without a user'],
    ['of which only the user is known', { uid: 1000 }, 'uid 1000'],
    ['of a caller', { caller: callerOf(1000) }, 'uid 1000'],
    [
      'of a container’s user',
      { caller: callerOf(0, { namespaces: ['network'] }) },
      'uid 0 of a container',
    ],
  ])('%s are bounded, and the rest counted', (_whose, more, detail) => {
    for (let made = 0; made < 10_000; made += 1) writer.audit(refused(more))
    expect(linesOf('request.refused')).toHaveLength(REFUSALS.burst)
    pass(10_000)
    expect(linesOf('audit.suppressed')).toEqual([
      expect.objectContaining({ detail, suppressed: 10_000 - REFUSALS.burst }),
    ])
  })

  test('of one kind of callers leave those of another alone', () => {
    for (let made = 0; made < 1000; made += 1) {
      writer.audit(refused({}))
      writer.audit(refused({ caller: callerOf(0, { namespaces: ['network'] }) }))
    }
    const before = lines.length
    writer.audit(refused({ uid: 0 }))
    writer.audit(refused({ uid: 1000 }))
    writer.audit({ event: 'policy.not-loaded' })
    writer.audit({ event: 'agent.stopped' })
    expect(lines).toHaveLength(before + 4)
  })
})

describe('all users together', () => {
  /** A person with many uids (subuid(5)) does what it can for half a minute. */
  function crowd(): void {
    for (let second = 0; second < 30; second += 1) {
      for (let uid = 100_000; uid < 100_500; uid += 1) {
        writer.audit(minted(uid))
        writer.audit({ event: 'limit.refused', code: 'LIMIT_RATE', caller: callerOf(uid) })
      }
      pass(1000)
    }
  }

  test('write no more than the journal takes with its own limit, and nothing is left out', () => {
    crowd()
    const written = lines.length
    const ofRoot = [REFUSALS, ALLOWED].map(({ burst, perSecond }) => burst + 30 * perSecond)
    const root = ofRoot.reduce((sum, one) => sum + one)
    expect(written).toBeLessThanOrEqual(LINES_OF_USERS.burst + 30 * LINES_OF_USERS.perSecond)
    const unit = readFileSync(new URL('../../systemd/metabindd.service', import.meta.url), 'utf8')
    const limit = Number(/^LogRateLimitBurst=(\d+)$/m.exec(unit)?.[1])
    expect(unit).toMatch(/^LogRateLimitIntervalSec=30s$/m)
    expect(LINES_OF_USERS.burst + 30 * LINES_OF_USERS.perSecond + root).toBeLessThan(limit)
    writer.end()
    expect(countOf(linesOf('token.issued'))).toBe(15_000)
    const suppressed = linesOf('audit.suppressed').map((line) => Number(line.suppressed))
    const all = suppressed.reduce((sum, one) => sum + one, 0) + linesOf('limit.refused').length
    expect(all).toBe(15_000)
  })

  test('do not keep root and the agent from being recorded at once', () => {
    crowd()
    const before = lines.length
    writer.audit(minted(0))
    writer.audit({ event: 'token.refused', caller: callerOf(0) })
    writer.audit({ event: 'self-test.failed' })
    expect(lines.length).toBe(before + 3)
  })

  test('each come to their turn', () => {
    crowd()
    writer.audit(minted(99_999))
    const ofLate = () => lines.filter((line) => (line.caller as Caller | undefined)?.uid === 99_999)
    for (let second = 0; second < 60 && ofLate().length === 0; second += 1) {
      for (let uid = 100_000; uid < 100_500; uid += 1) writer.audit(minted(uid))
      pass(1000)
    }
    expect(ofLate()).toHaveLength(1)
  })
})

describe('a record', () => {
  const text = '\u0001'.repeat(5000)
  const groups = Array.from({ length: 65_536 }, (_, at) => 4_294_900_000 + at)
  const caller = {
    ...callerOf(4_294_967_294, { pid: 4_194_304, gid: 4_294_967_294, groups }),
    ...{ unit: text, slice: text, container: text, executable: text },
    namespaces: ['pid', 'user', 'network'] as const,
  }
  const LONGEST: AuditRecord = {
    ...{ event: 'policy.would-refuse', code: 'POLICY_DENIED', ttlSeconds: 21_600, count: 1e9 },
    ...{ id: text, rule: text, detail: text, path: text, suppressed: 1e9, caller },
  }

  test('of the longest texts and most groups fits into a line, of the log and of the file', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'metabind-'))
    const path = join(directory, 'audit.log')
    const watcher = { onFault: () => undefined, onLost: () => undefined }
    const file = openAuditFile(path, watcher)
    writer = auditWriter({ log, isAllLogged: true, file }, () => nowMs, WATCHER)
    writer.audit(LONGEST)
    await file.close()
    const written = readFileSync(path, 'utf8').split('\n')
    rmSync(directory, { recursive: true })
    expect(longest).toBeLessThanOrEqual(LINE_BYTES_MAX)
    expect(written.every((line) => line.length <= LINE_BYTES_MAX)).toBe(true)
    // Nothing had to be left out for it.
    expect(JSON.parse(written.at(-2) ?? '')).toMatchObject({ caller: { uid: caller.uid } })
  })

  test('shows sixteen groups, and how many there are where they are more', () => {
    writer.audit(minted(1000, { groups: groups.slice(0, 16) }))
    writer.audit(minted(1001, { groups: groups.slice(0, 17) }))
    expect(lines.map((line) => line.caller)).toEqual([
      expect.objectContaining({ groups: groups.slice(0, 16) }),
      expect.objectContaining({ groups: groups.slice(0, 16), groupCount: 17 }),
    ])
    expect(lines[0]?.caller).not.toHaveProperty('groupCount')
  })
})
