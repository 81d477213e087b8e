import { execFileSync } from 'node:child_process'
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

  test.each([
    'token.refused',
    'token.foreign',
    'policy.refused',
    'request.refused',
    'limit.refused',
  ] as const)('of every kind are bounded: %s', (event) => {
    for (let made = 0; made < 300; made += 1) writer.audit({ event, caller: callerOf(1000) })
    expect(lines).toHaveLength(REFUSALS.burst)
  })

  test('are not what somebody has done, nor what the agent allows itself: each of these is a line', () => {
    for (let made = 0; made < 300; made += 1) {
      writer.audit({ event: 'token.revoked', caller: callerOf(1000) })
      writer.audit({ event: 'self-test.passed' })
    }
    expect([linesOf('token.revoked').length, linesOf('self-test.passed').length]).toEqual([
      300, 300,
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

describe('what was only counted', () => {
  const flood = (uid = 1000) => {
    for (let made = 0; made < 1000; made += 1) {
      writer.audit({ event: 'limit.refused', caller: callerOf(uid) })
    }
  }
  const suppressed = () => linesOf('audit.suppressed').map((line) => line.suppressed)

  test('is written each ten seconds, as long as there is some, and by nobody’s clock then', () => {
    flood()
    pass(9999)
    expect(suppressed()).toEqual([])
    pass(1)
    expect(suppressed()).toEqual([1000 - REFUSALS.burst])
    pass(10_000)
    expect([suppressed().length, vi.getTimerCount()]).toEqual([1, 0])
    flood()
    pass(10_000)
    expect(suppressed()).toEqual([800, 800])
  })

  test('and for which there is no line then is written as soon as there is one', () => {
    for (let uid = 100_000; uid < 107_000; uid += 1) {
      writer.audit({ event: 'limit.refused', caller: callerOf(uid) })
    }
    for (let round = 0; round < 6; round += 1) pass(10_000)
    expect(suppressed()).toHaveLength(4096 + 1)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('goes on being counted for who is known, though the table is full', () => {
    for (let uid = 100_000; uid < 107_000; uid += 1) {
      writer.audit({ event: 'limit.refused', caller: callerOf(uid) })
    }
    for (let made = 0; made < 300; made += 1) {
      writer.audit({ event: 'limit.refused', caller: callerOf(102_500) })
    }
    writer.end()
    const own = linesOf('audit.suppressed').find((line) => line.detail === 'uid 102500')
    expect(own).toMatchObject({ suppressed: 301 })
  })

  test('is all written at the end, and nothing waits or is written beyond it', () => {
    writer.audit(minted(1000))
    flood()
    expect(vi.getTimerCount()).toBe(2)
    writer.end()
    expect(suppressed()).toEqual([800])
    expect([linesOf('token.issued').length, vi.getTimerCount()]).toEqual([1, 0])
  })

  test('is told as it was if it was one, with the time at which it was', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'metabind-'))
    const path = join(directory, 'audit.log')
    const file = openAuditFile(path, { onFault: () => undefined, onLost: () => undefined })
    writer = auditWriter({ log, isAllLogged: true, file }, () => nowMs, WATCHER)
    for (let made = 0; made <= ONE_BY_ONE.burst; made += 1) writer.audit(minted(1000))
    vi.setSystemTime(Date.parse('2026-01-01T00:00:00.000Z'))
    writer.audit({ ...minted(1001), id: 'first' })
    for (let made = 0; made < ONE_BY_ONE.burst; made += 1) writer.audit(minted(1001))
    vi.setSystemTime(Date.parse('2026-01-01T00:00:01.000Z'))
    writer.audit({ ...minted(1001), id: 'last' })
    vi.setSystemTime(Date.parse('2026-01-01T00:00:09.000Z'))
    writer.end()
    await file.close()
    const written = readFileSync(path, 'utf8').split('\n').slice(0, -1)
    rmSync(directory, { recursive: true })
    const last = JSON.parse(written.at(-1) ?? '')
    expect(last).toMatchObject({ id: 'last', ttlSeconds: 60, time: '2026-01-01T00:00:01.000Z' })
    expect(last).not.toHaveProperty('count')
    const first = written.map((line) => JSON.parse(line)).find(({ id }) => id === 'first')
    expect(first.time).toBe('2026-01-01T00:00:00.000Z')
  })
})

test('each read under a policy on trial is a line, though it is like the one before', () => {
  const seen = { event: 'policy.seen', caller: callerOf(1000), path: '/a' } as const
  for (let read = 0; read < 150; read += 1) writer.audit(seen)
  expect(lines).toHaveLength(150)
})

test('records are marked, numbered and told, whatever the log leaves out', () => {
  let told = 0
  let left = 0
  const watcher = {
    onRecord: () => {
      told += 1
    },
    onSuppressed: () => {
      left += 1
    },
  }
  log.level = 'error'
  try {
    writer = auditWriter(IN_LOG, () => nowMs, watcher)
    for (let made = 0; made < 2; made += 1) writer.audit({ event: 'agent.started' })
    for (let made = 0; made <= REFUSALS.burst; made += 1) writer.audit({ event: 'token.refused' })
  } finally {
    log.level = 'info'
  }
  expect(lines.every(({ audit }) => audit === true)).toBe(true)
  expect(lines.map(({ seq }) => seq)).toEqual(lines.map((_, at) => at + 1))
  expect([lines.length, told, left]).toEqual([2 + REFUSALS.burst, 2 + REFUSALS.burst, 1])
})

describe('what one user does is told apart', () => {
  /** Each of so many paths, three times: as a line, as another, and counted. */
  function readThrice(paths: number, from: number): void {
    for (let round = 0; round < 3; round += 1) {
      for (let at = from; at < from + paths; at += 1) {
        writer.audit({ event: 'secret.read', caller: callerOf(1000), path: `/${at}` })
      }
    }
  }
  const withoutPath = () => countOf(lines.filter(({ path }) => path === undefined))

  test('as far as there is room for it, and again when it has rested', () => {
    readThrice(100, 0)
    for (let second = 0; second < 30; second += 1) pass(1000)
    // Nobody had to ask for anything for that.
    expect(countOf(lines)).toBe(300)
    // Of 36 paths, but for the lines that one user has in a burst.
    expect(withoutPath()).toBe(2 * 36 - 1)
    expect(vi.getTimerCount()).toBe(0)
    lines = []
    readThrice(64, 1000)
    for (let second = 0; second < 30; second += 1) pass(1000)
    expect([countOf(lines), withoutPath()]).toEqual([3 * 64, 0])
  })

  test('by its event alone where the table is full, and by nothing where that is full as well', () => {
    const users = Array.from({ length: 2048 }, (_, at) => 100_000 + at)
    const events = ['token.issued', 'secret.read', 'identity.issued'] as const
    for (const event of events) {
      for (const uid of users) writer.audit({ event, caller: callerOf(uid), path: '/x' })
    }
    for (let round = 0; round < 3; round += 1) {
      for (let at = 0; at < 100; at += 1) {
        writer.audit({ event: 'evidence.made', caller: callerOf(0), path: `/${at}` })
      }
    }
    writer.end()
    expect(linesOf('evidence.made').every((line) => line.caller !== undefined)).toBe(true)
    const [, reads, identities] = events.map((event) => linesOf(event))
    expect(reads).toHaveLength(2048)
    expect(new Set(reads?.map((line) => (line.caller as Caller).uid)).size).toBe(2048)
    expect(identities).toMatchObject([{ count: 2048 }])
    expect(identities?.[0]).not.toHaveProperty('caller')
  })
})

describe('more users than can be told apart', () => {
  const OTHERS = 'users beyond those remembered'
  const uids = (count: number) => Array.from({ length: count }, (_, at) => 100_000 + at)

  test('are counted together where they are refused, and root by itself', () => {
    for (const uid of uids(7000)) writer.audit({ event: 'limit.refused', caller: callerOf(uid) })
    for (let made = 0; made < 300; made += 1) {
      writer.audit({ event: 'limit.refused', caller: callerOf(0) })
    }
    writer.end()
    const suppressed = linesOf('audit.suppressed')
    const of = (detail: string) => suppressed.filter((line) => line.detail === detail)
    expect(of(OTHERS)).toMatchObject([{ suppressed: 7000 - LINES_OF_USERS.burst - 4096 }])
    expect(of(OTHERS)[0]).not.toHaveProperty('uid')
    expect(of('uid 0')).toMatchObject([{ uid: 0, suppressed: 100 }])
    expect(suppressed).toHaveLength(4096 + 2)
  })

  test('are counted together where they are allowed, and root by itself', () => {
    for (const uid of uids(5000)) writer.audit(minted(uid))
    for (let made = 0; made < 300; made += 1) writer.audit(minted(0))
    lines = lines.filter(({ caller: by }) => by !== undefined)
    const apart = countOf(lines)
    expect(apart).toBeLessThan(5300)
    writer.end()
    const together = lines.filter(({ caller: by }) => by === undefined)
    expect(together).toMatchObject([{ event: 'token.issued', count: 5000 - 2048 }])
    const ofRoot = lines.filter(({ caller: by }) => (by as Caller | undefined)?.uid === 0)
    expect(countOf(ofRoot)).toBe(300)
    expect(countOf(lines)).toBe(5300)
  })
})

describe('what is not all logged', () => {
  /** A disk that is full after so many bytes: setrlimit(2), RLIMIT_FSIZE, of this process. */
  const diskHolds = (bytes: number | 'unlimited') =>
    execFileSync('prlimit', [`--pid=${process.pid}`, `--fsize=${bytes}:unlimited`])
  afterEach(() => diskHolds('unlimited'))

  test('is in the log only if it may not get into the file', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'metabind-'))
    const path = join(directory, 'audit.log')
    const file = openAuditFile(path, { onFault: () => undefined, onLost: () => undefined })
    writer = auditWriter({ log, isAllLogged: false, file }, () => nowMs, WATCHER)
    writer.audit({ event: 'agent.started' })
    await file.flush()
    expect(lines).toEqual([])
    diskHolds(1)
    writer.audit({ event: 'config.reloaded' })
    await file.flush()
    writer.audit({ event: 'agent.ended' })
    expect(lines).toMatchObject([{ event: 'agent.ended', seq: 4 }])
    diskHolds('unlimited')
    await file.close()
    const written = readFileSync(path, 'utf8').split('\n').slice(1, -1)
    rmSync(directory, { recursive: true })
    const events = written.map((line) => JSON.parse(line).event)
    expect(events).toEqual(['agent.started', 'config.reloaded', 'agent.ended'])
  })

  test('and what is all logged is there beside the file', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'metabind-'))
    const watcher = { onFault: () => undefined, onLost: () => undefined }
    const file = openAuditFile(join(directory, 'audit.log'), watcher)
    writer = auditWriter({ log, isAllLogged: true, file }, () => nowMs, WATCHER)
    for (let made = 0; made < 2; made += 1) writer.audit({ event: 'agent.started' })
    await file.close()
    rmSync(directory, { recursive: true })
    // Behind the beginning of the file.
    expect(lines.map(({ seq }) => seq)).toEqual([2, 3])
  })

  test('is in the log where there is no file', () => {
    writer = auditWriter({ log, isAllLogged: false, file: undefined }, () => nowMs, WATCHER)
    writer.audit({ event: 'agent.ended' })
    expect(lines).toMatchObject([{ event: 'agent.ended', seq: 1 }])
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

  test('has texts of 512 characters, and of longer ones the beginning', () => {
    const texts = [512, 513].map((length) => 'x'.repeat(length))
    for (const detail of texts) {
      writer.audit({ event: 'agent.ended', detail, caller: callerOf(1, { unit: detail }) })
    }
    const shown = [texts[0], `${texts[0]}…`]
    expect(lines.map(({ detail }) => detail)).toEqual(shown)
    expect(lines.map((line) => (line.caller as Caller).unit)).toEqual(shown)
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
