import { expect, test } from 'vitest'
import { clockProgress } from '../../src/format/tpm-clock.ts'

const LAST = { clockMs: 90_000, resetCount: 7, restartCount: 2, safe: true }

test.each([
  ['on in the same run', { clockMs: 90_001 }, 'same-run'],
  ['standing in the same run', {}, 'behind'],
  ['back in the same run, not safe', { clockMs: 1000, safe: false }, 'behind'],
  ['on after a suspension', { restartCount: 3, clockMs: 90_001 }, 'resumed'],
  ['on after a reboot', { resetCount: 8, restartCount: 0, clockMs: 90_001 }, 'rebooted'],
  ['back after an orderly reboot', { resetCount: 8, clockMs: 89_999 }, 'earlier'],
  ['back after a loss of power', { resetCount: 8, clockMs: 1000, safe: false }, 'rebooted'],
  ['back by resets, not safe', { resetCount: 6, clockMs: 1000, safe: false }, 'earlier'],
  ['on, back by restarts', { restartCount: 1, clockMs: 90_001 }, 'earlier'],
])('a clock %s', (_, now, progress) => {
  expect(clockProgress(LAST, { ...LAST, ...now })).toBe(progress)
})

test('counters wrap', () => {
  const last = { ...LAST, resetCount: 2 ** 32 - 1 }
  expect(clockProgress(last, { ...LAST, resetCount: 0 })).toBe('rebooted')
})
