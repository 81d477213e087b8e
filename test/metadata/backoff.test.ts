import { beforeEach, describe, expect, test } from 'vitest'
import { MetabindError } from '../../src/errors.ts'
import { HOLD_MS, HOLD_MS_MAX, type Setbacks, setbacks } from '../../src/metadata/backoff.ts'

let nowMs: number
let drawn: number
let troubles: Setbacks

beforeEach(() => {
  nowMs = 0
  // In the middle: waits as they are written down.
  drawn = 0.5
  troubles = setbacks(
    () => nowMs,
    () => drawn,
  )
})

const silence = (target: string) => troubles.failed(target, new MetabindError('SOURCE_DOWN'), true)
const error = (target: string) =>
  troubles.failed(target, new MetabindError('SOURCE_NONSENSE'), false)

describe('one target', () => {
  test('is held back for a second after a failure, and remembers its code', () => {
    error('a')
    nowMs = HOLD_MS - 1
    expect([troubles.mayAsk('a', false), troubles.reason('a').code]).toEqual([
      false,
      'SOURCE_NONSENSE',
    ])
    expect(troubles.mayAsk('b', false)).toBe(true)
    nowMs = HOLD_MS
    expect(troubles.mayAsk('a', false)).toBe(true)
  })

  test('is held back twice as long after each failure, up to 15 s, where an old answer serves', () => {
    const waits = [1, 2, 3, 4, 5, 6].map(() => {
      error('a')
      const failedAtMs = nowMs
      while (!troubles.mayAsk('a', true)) nowMs += 100
      return nowMs - failedAtMs
    })
    expect(waits).toEqual([1000, 2000, 4000, 8000, HOLD_MS_MAX, HOLD_MS_MAX])
    expect(troubles.isDown).toBe(false)
  })

  test('waits by lot a quarter less or more', () => {
    for (const [lot, ms] of [
      [0, 0.75 * HOLD_MS],
      [1, 1.25 * HOLD_MS],
    ] as const) {
      drawn = lot
      nowMs = 0
      error('a')
      nowMs = ms - 1
      expect(troubles.mayAsk('a', false)).toBe(false)
      nowMs = ms
      expect(troubles.mayAsk('a', false)).toBe(true)
    }
  })

  test('starts from the beginning after an answer', () => {
    for (let at = 0; at < 5; at += 1) error('a')
    troubles.answered('a')
    expect(troubles.mayAsk('a', true)).toBe(true)
    error('a')
    nowMs = HOLD_MS
    expect(troubles.mayAsk('a', true)).toBe(true)
  })

  test('is forgotten where very many fail, rather than remembered without end', () => {
    for (let at = 0; at <= 1024; at += 1) error(`target-${at}`)
    expect(troubles.mayAsk('target-0', false)).toBe(true)
    expect(troubles.mayAsk('target-1', false)).toBe(false)
  })
})

describe('the source', () => {
  test('is down after silence on two targets in a row, and not on one', () => {
    silence('a')
    silence('a')
    expect(troubles.isDown).toBe(false)
    silence('b')
    expect(troubles.isDown).toBe(true)
    expect([troubles.mayAsk('c', false), troubles.reason('c').code]).toEqual([false, 'SOURCE_DOWN'])
  })

  test('is not down where it answered something in between, even with an error', () => {
    silence('a')
    troubles.answered('b')
    silence('c')
    expect(troubles.isDown).toBe(false)
    error('d')
    silence('e')
    expect(troubles.isDown).toBe(false)
  })

  test('is tried by one at a time', () => {
    silence('a')
    silence('b')
    nowMs = 2 * HOLD_MS
    expect(troubles.mayAsk('c', false)).toBe(true)
    expect(troubles.mayAsk('d', false)).toBe(false)
    silence('c')
    nowMs = 4 * HOLD_MS
    expect(troubles.mayAsk('d', false)).toBe(true)
  })

  test('is up with any answer, and with an error too', () => {
    for (const speaks of [troubles.answered, error]) {
      silence('a')
      silence('b')
      expect(troubles.isDown).toBe(true)
      speaks('c')
      expect(troubles.isDown).toBe(false)
      expect(troubles.mayAsk('d', false)).toBe(true)
    }
  })
})
