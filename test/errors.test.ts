import { expect, test } from 'vitest'
import { MetabindError, RateError } from '../src/errors.ts'

const frames = ({ stack }: Error) => stack?.split('\n    at ').length ?? 0

test('a refusal has no stack, a fault has', () => {
  expect(frames(new MetabindError('TOKEN_EXPIRED'))).toBe(1)
  expect(frames(new RateError(1, 'mint'))).toBe(1)
  expect(frames(new MetabindError('INTERNAL'))).toBeGreaterThan(2)
  expect(frames(new MetabindError('SOURCE_DOWN'))).toBeGreaterThan(2)
})

test('and takes none from whatever fails next', () => {
  const before = Error.stackTraceLimit
  expect(new MetabindError('TOKEN_EXPIRED')).toBeInstanceOf(Error)
  expect(Error.stackTraceLimit).toBe(before)
  expect(frames(new Error('next'))).toBeGreaterThan(2)
})
