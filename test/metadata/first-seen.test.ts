import { expect, test } from 'vitest'
import { firstSeen } from '../../src/metadata/first-seen.ts'

const body = (at: number) => Buffer.from(`credentials ${at}`)

test('seeing the same bytes again does not make them new', () => {
  const seen = firstSeen()
  expect([seen.of(body(1), 10), seen.of(body(1), 20), seen.of(body(2), 30)]).toEqual([10, 10, 30])
})

test('of any number the last 64 are remembered, and what is seen again is forgotten last', () => {
  const seen = firstSeen()
  for (let at = 0; at < 64; at += 1) seen.of(body(at), at)
  seen.of(body(0), 100)
  seen.of(body(64), 64)
  expect(seen.all().length).toBe(64)
  expect(seen.of(body(0), 200)).toBe(0)
  expect(seen.of(body(1), 200)).toBe(200)
})

test('what another process saw counts, and what this one knows is not overwritten', () => {
  const [before, after] = [firstSeen(), firstSeen()]
  before.of(body(1), 5)
  before.of(body(2), 6)
  after.of(body(2), 3)
  after.restore(before.all())
  expect([after.of(body(1), 50), after.of(body(2), 50)]).toEqual([5, 3])
})

test('the bytes themselves are not remembered', () => {
  const seen = firstSeen()
  seen.of(body(1), 1)
  expect(seen.all()).toEqual([[expect.stringMatching(/^[0-9a-f]{64}$/), 1]])
})
