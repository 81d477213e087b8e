import { expect, test } from 'vitest'
import { openCounts } from '../src/open-counts.ts'

test('what has nothing open any more is forgotten: ten thousand users come and go', () => {
  const counts = openCounts<number>()
  for (let uid = 0; uid < 10_000; uid += 1) {
    counts.add(uid, 2)
    counts.add(uid, 1)
    expect(counts.of(uid)).toBe(3)
    counts.remove(uid, 2)
    expect([counts.of(uid), counts.size]).toEqual([1, 1])
    counts.remove(uid, 1)
    expect([counts.of(uid), counts.size]).toEqual([0, 0])
  }
})

test('never less than nothing', () => {
  const counts = openCounts<string>()
  counts.remove('192.0.2.1', 1)
  counts.add('192.0.2.1', 1)
  expect(counts.of('192.0.2.1')).toBe(1)
})
