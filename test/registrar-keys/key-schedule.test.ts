import { describe, expect, test } from 'vitest'
import { nextStartMs, overdue, signingNow } from '../../src/registrar-keys/key-schedule.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const SCHEDULE = { rotateMs: 30 * DAY, overlapMs: 23 * HOUR }

/** A registrar that looks every `everyMs`, for so many days. @returns what verifiers would see at each look */
function watched(days: number, everyMs: number, isDown: (nowMs: number) => boolean = () => false) {
  let keys: { startsAtMs: number; madeAtMs: number }[] = []
  const looks: { nowMs: number; signing: number; published: readonly number[] }[] = []
  for (let nowMs = 0; nowMs < days * DAY; nowMs += everyMs) {
    if (isDown(nowMs)) continue
    const startsAtMs = nextStartMs(keys, SCHEDULE, nowMs)
    if (startsAtMs !== undefined) keys.push({ startsAtMs, madeAtMs: nowMs })
    const over = overdue(keys, SCHEDULE, nowMs)
    keys = keys.filter((key) => !over.includes(key))
    const signing = signingNow(keys, nowMs)?.startsAtMs ?? Number.NaN
    looks.push({ nowMs, signing, published: keys.map((key) => key.startsAtMs) })
  }
  return looks
}

describe('keys over half a year', () => {
  const looks = watched(180, HOUR)

  test('one signs at any time, each for thirty days', () => {
    expect(looks.every(({ signing }) => Number.isFinite(signing))).toBe(true)
    expect([...new Set(looks.map(({ signing }) => signing))]).toEqual(
      [0, 30, 60, 90, 120, 150].map((day) => day * DAY),
    )
  })

  test('each but the first is published for 23 hours before it signs, and after it did', () => {
    for (const [start, successor] of [
      [30 * DAY, 60 * DAY],
      [60 * DAY, 90 * DAY],
    ] as const) {
      const seen = looks.filter(({ published }) => published.includes(start))
      expect(seen[0]?.nowMs).toBe(start - 23 * HOUR)
      expect(seen.at(-1)?.nowMs).toBe(successor + 23 * HOUR - HOUR)
    }
  })

  test('at most two are published', () => {
    expect(Math.max(...looks.map(({ published }) => published.length))).toBe(2)
  })
})

test('a registrar that was away when a key was due does not sign with one that nobody has seen', () => {
  const looks = watched(60, HOUR, (nowMs) => nowMs > 20 * DAY && nowMs < 40 * DAY)
  const second = looks.map(({ signing }) => signing).find((signing) => signing > 0)
  expect(second).toBe(40 * DAY + 23 * HOUR)
  const before = looks.find(({ published }) => published.includes(second ?? 0))
  expect(before?.nowMs).toBe(40 * DAY)
})
