import { expect, test } from 'vitest'
import { durationSeconds } from '../../src/format/duration.ts'

test.each([
  ['600', 600],
  ['1', 1],
  ['30s', 30],
  ['10m', 600],
  ['2h', 7200],
  ['7d', 604_800],
])('%s is %i seconds', (text, seconds) => {
  expect(durationSeconds('--for', text, 604_800)).toBe(seconds)
})

test.each(['', '0', '0h', '-5', '1.5', '8d', '1w', '1 h', '1h30m', '+1', '1H', '99999999999'])(
  '%j is none, and what it must be is said',
  (text) => {
    expect(() => durationSeconds('--for', text, 604_800)).toThrow(
      `--for takes a duration from 1s to 7d, such as 600, 10m or 2h, not '${text}'`,
    )
  },
)
