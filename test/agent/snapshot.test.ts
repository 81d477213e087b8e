import { expect, test } from 'vitest'
import { PAGE_BYTES_MAX, withinBytes } from '../../src/agent/snapshot.ts'

const rows = (bytesEach: number) => (rowsMax: number) =>
  Array.from({ length: Math.min(1000, rowsMax) }, () => '\u0001'.repeat(bytesEach / 6))
const length = (made: unknown) => JSON.stringify(made).length

test('short rows are shown up to their number', () => {
  expect(withinBytes(rows(60))).toHaveLength(100)
})

test('of long rows there are fewer: what is sent is bounded, as it is sent', () => {
  for (const bytesEach of [3000, 6000, 60_000]) {
    const made = withinBytes(rows(bytesEach))
    expect(length(made)).toBeLessThanOrEqual(PAGE_BYTES_MAX)
    expect(made.length).toBeGreaterThan(1)
  }
})
