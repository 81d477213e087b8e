import { expect, test } from 'vitest'
import { waitMs } from '../../src/cli/keep-file.ts'

test('a file is looked at again at half of what is left of its token, within bounds', () => {
  expect(waitMs(1000, 100_000)).toBe(450_000)
  // One that is over, or a clock that is wrong.
  expect(waitMs(1, 100_000)).toBe(5000)
  expect(waitMs(1_000_000, 0)).toBe(3_600_000)
})
