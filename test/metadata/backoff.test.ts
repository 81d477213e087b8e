import { beforeEach, describe, expect, test } from 'vitest'
import { MetabindError } from '../../src/errors.ts'
import { BACKOFF_MS, BACKOFF_MS_MAX, type Backoff, backoff } from '../../src/metadata/backoff.ts'

let nowMs: number
let drawn: number
let failures: Backoff

beforeEach(() => {
  nowMs = 0
  // In the middle: waits as they are written down.
  drawn = 0.5
  failures = backoff(
    () => nowMs,
    () => drawn,
  )
})

const silence = (target: string) => failures.failed(target, new MetabindError('SOURCE_DOWN'), true)
const error = (target: string) =>
  failures.failed(target, new MetabindError('SOURCE_NONSENSE'), false)

describe('one target', () => {
  test('is held back for a second after a failure, and remembers its code', () => {
    error('a')
    nowMs = BACKOFF_MS - 1
    expect([failures.mayAsk('a', false), failures.reason('a').code]).toEqual([
      false,
      'SOURCE_NONSENSE',
    ])
    expect(failures.mayAsk('b', false)).toBe(true)
    nowMs = BACKOFF_MS
    expect(failures.mayAsk('a', false)).toBe(true)
  })

  test('is held back twice as long after each failure, up to 15 s, where an old answer serves', () => {
    const waits = [1, 2, 3, 4, 5, 6].map(() => {
      error('a')
      const failedAtMs = nowMs
      while (!failures.mayAsk('a', true)) nowMs += 100
      return nowMs - failedAtMs
    })
    expect(waits).toEqual([1000, 2000, 4000, 8000, BACKOFF_MS_MAX, BACKOFF_MS_MAX])
    expect(failures.isDown).toBe(false)
  })

  test('waits by lot a quarter less or more', () => {
    for (const [lot, ms] of [
      [0, 0.75 * BACKOFF_MS],
      [1, 1.25 * BACKOFF_MS],
    ] as const) {
      drawn = lot
      nowMs = 0
      error('a')
      nowMs = ms - 1
      expect(failures.mayAsk('a', false)).toBe(false)
      nowMs = ms
      expect(failures.mayAsk('a', false)).toBe(true)
    }
  })

  test('starts from the beginning after an answer', () => {
    for (let at = 0; at < 5; at += 1) error('a')
    failures.answered('a')
    expect(failures.mayAsk('a', true)).toBe(true)
    error('a')
    nowMs = BACKOFF_MS
    expect(failures.mayAsk('a', true)).toBe(true)
  })

  test('is forgotten where very many fail, rather than remembered without end', () => {
    for (let at = 0; at <= 1024; at += 1) error(`target-${at}`)
    expect(failures.mayAsk('target-0', false)).toBe(true)
    expect(failures.mayAsk('target-1', false)).toBe(false)
  })

  test('is forgotten after others if it has failed again since', () => {
    for (let at = 0; at < 1024; at += 1) error(`target-${at}`)
    error('target-0')
    error('one more')
    expect(failures.mayAsk('target-0', false)).toBe(false)
    expect(failures.mayAsk('target-1', false)).toBe(true)
  })

  test('that has not failed, in a source that is not down, has SOURCE_DOWN for a reason', () => {
    expect(failures.reason('a').code).toBe('SOURCE_DOWN')
  })
})

describe('the source', () => {
  test('is down after silence on two targets in a row, and not on one', () => {
    silence('a')
    silence('a')
    expect(failures.isDown).toBe(false)
    silence('b')
    expect(failures.isDown).toBe(true)
    expect([failures.mayAsk('c', false), failures.reason('c').code]).toEqual([false, 'SOURCE_DOWN'])
  })

  test('is not down where it answered something in between, even with an error', () => {
    silence('a')
    failures.answered('b')
    silence('c')
    expect(failures.isDown).toBe(false)
    error('d')
    silence('e')
    expect(failures.isDown).toBe(false)
  })

  test('is tried by one at a time', () => {
    silence('a')
    silence('b')
    nowMs = 2 * BACKOFF_MS
    expect(failures.mayAsk('c', false)).toBe(true)
    expect(failures.mayAsk('d', false)).toBe(false)
    silence('c')
    nowMs = 4 * BACKOFF_MS
    expect(failures.mayAsk('d', false)).toBe(true)
  })

  test('is held back anew, and for longer, when the one that tries it hears nothing either', () => {
    silence('a')
    silence('b')
    nowMs = BACKOFF_MS
    expect(failures.mayAsk('b', true)).toBe(true)
    silence('b')
    nowMs += 2 * BACKOFF_MS - 1
    expect(failures.mayAsk('c', true)).toBe(false)
    nowMs += 1
    expect(failures.mayAsk('c', true)).toBe(true)
  })

  test('is up with any answer, and with an error too', () => {
    for (const speaks of [failures.answered, error]) {
      silence('a')
      silence('b')
      expect(failures.isDown).toBe(true)
      speaks('c')
      expect(failures.isDown).toBe(false)
      expect(failures.mayAsk('d', false)).toBe(true)
    }
  })
})
