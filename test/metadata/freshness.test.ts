import { expect, test } from 'vitest'
import { aliyun } from '../../src/dialect/aliyun.ts'
import { firstSeen } from '../../src/metadata/first-seen.ts'
import { conditionOf, holdingOf, makeEntry } from '../../src/metadata/freshness.ts'

const MINUTE_MS = 60_000
const WALL_MS = Date.parse('2026-11-01T00:00:00Z')

function clocksAt(bootMs: number) {
  return { bootTimeMs: () => bootMs, wallTimeMs: () => WALL_MS, random: () => 0 }
}

/** Credentials that end in so much time. */
function credentialsFor(leftMs: number) {
  const time = (ms: number) => new Date(ms).toISOString().replace('.000Z', 'Z')
  const body = {
    AccessKeyId: 'STS.id',
    AccessKeySecret: 'secret',
    SecurityToken: 'token',
    LastUpdated: time(WALL_MS - 60 * MINUTE_MS),
    Expiration: time(WALL_MS + leftMs),
    Code: 'Success',
  }
  const item = { body: Buffer.from(JSON.stringify(body)), contentType: 'text/plain' }
  const deps = { clocks: clocksAt(0), dialect: aliyun, firstSeen: firstSeen() }
  return makeEntry(item, 'credentials', undefined, deps)
}

test.each([
  [30 * MINUTE_MS, 60_000],
  [16 * MINUTE_MS, 60_000],
  // Not into the last quarter of an hour.
  [15 * MINUTE_MS + 30_000, 30_000],
  [15 * MINUTE_MS + 1000, 1000],
  [15 * MINUTE_MS, 5000],
  [5 * MINUTE_MS, 5000],
  [4 * MINUTE_MS, 4000],
  [2 * MINUTE_MS, 2000],
  [30_000, 1000],
])('credentials with %d ms left are not asked for again within %d ms', (leftMs, quietMs) => {
  const entry = credentialsFor(leftMs)
  expect(conditionOf(entry, clocksAt(quietMs - 1))).toBe('fresh')
  expect(conditionOf(entry, clocksAt(quietMs))).toBe(
    leftMs > 15 * MINUTE_MS ? 'refresh-soon' : 'must-refresh',
  )
})

test('what is absent goes first, then what can be asked for again, and credentials last', () => {
  const deps = { clocks: clocksAt(0), dialect: aliyun, firstSeen: firstSeen() }
  const item = { body: Buffer.from('x'.repeat(100)), contentType: 'text/plain' }
  const holding = (...[kind, lifetime]: [typeof item | undefined, 'boot' | 'short' | 'once']) =>
    holdingOf(makeEntry(kind, lifetime, undefined, deps))
  const day = 24 * 60 * MINUTE_MS
  expect(holding(undefined, 'boot')).toEqual({ bytes: 0, rank: 0, endsAtMs: 60 * MINUTE_MS })
  expect(holding(undefined, 'short')).toEqual({ bytes: 0, rank: 0, endsAtMs: 60 * MINUTE_MS })
  expect(holding(item, 'short')).toEqual({ bytes: 110, rank: 1, endsAtMs: day })
  expect(holding(item, 'boot')).toEqual({ bytes: 110, rank: 2, endsAtMs: Infinity })
  expect(holding(item, 'once')).toBeUndefined()
  const credentials = credentialsFor(30 * MINUTE_MS)
  expect(holdingOf(credentials)).toEqual({
    bytes: (credentials.item?.body.length ?? 0) + 10,
    rank: 2,
    endsAtMs: 90 * MINUTE_MS,
  })
})

test('a value of the boot is one line of text', () => {
  const deps = { clocks: clocksAt(0), dialect: aliyun, firstSeen: firstSeen() }
  const make = (text: string) => () =>
    makeEntry({ body: Buffer.from(text), contentType: 'text/plain' }, 'boot', undefined, deps)
  for (const text of ['i-1', 'i-1\n', ' ', '~'.repeat(512), `${'~'.repeat(512)}\n`]) {
    expect(make(text)).not.toThrow()
  }
  const nonsense = expect.objectContaining({ code: 'SOURCE_NONSENSE' })
  for (const text of ['', '\n', 'a\nb', 'a\n\n', '\na', 'a\t', '~'.repeat(513), 'é', '\x7f']) {
    expect(make(text), JSON.stringify(text)).toThrow(nonsense)
  }
})
