import fc from 'fast-check'
import { expect, test } from 'vitest'
import { nestsDeeperThan } from '../../src/format/json-depth.ts'

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  return 1 + Math.max(0, ...Object.values(value).map(depthOf))
}

test('the depth is that of the parsed value, whatever its texts hold', () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
      const json = Buffer.from(JSON.stringify(value))
      const depth = depthOf(value)
      expect(nestsDeeperThan(depth, json)).toBe(false)
      if (depth > 0) expect(nestsDeeperThan(depth - 1, json)).toBe(true)
    }),
  )
})

test('brackets and quotes in a text are no depth', () => {
  const json = Buffer.from(JSON.stringify(['[[[{"\\', '\\"[[', '\\\\', '{']))
  expect(nestsDeeperThan(1, json)).toBe(false)
})

test('text that never ends is looked at once, to its end or to the bound', () => {
  expect(nestsDeeperThan(8, Buffer.from('['.repeat(800_000)))).toBe(true)
  expect(nestsDeeperThan(8, Buffer.from(`"${'['.repeat(800_000)}`))).toBe(false)
})
