import { expect, test } from 'vitest'
import { requireOneRun } from '../../src/verify/clock.ts'
import { detailOf } from '../harness/verify-case.ts'

/** Clocks of the parts of one evidence. */

const clock = { clockMs: 5n, resetCount: 2, restartCount: 1, safe: true }
const found = (...clocks: readonly (typeof clock)[]) => detailOf(() => requireOneRun(clocks))

test('parts of one run hold, whenever in it they were made', () => {
  expect(requireOneRun([clock, { ...clock, clockMs: 6n }])).toBeUndefined()
})

test('parts of two runs do not, nor does no part', () => {
  expect(found(clock, { ...clock, resetCount: 3 })).toBe('VERIFY_CLOCK undefined')
  expect(found(clock, { ...clock, restartCount: 2 })).toBe('VERIFY_CLOCK undefined')
  expect(found(clock, { ...clock, resetCount: 21, restartCount: 0 })).toBe('VERIFY_CLOCK undefined')
  expect(found()).toBe('VERIFY_CLOCK undefined')
})

test('a clock is no later than a number can say', () => {
  const last = BigInt(Number.MAX_SAFE_INTEGER)
  expect(requireOneRun([{ ...clock, clockMs: last }])).toBeUndefined()
  expect(found({ ...clock, clockMs: last + 1n })).toMatch(/^VERIFY_CLOCK A clock of more than/)
})
