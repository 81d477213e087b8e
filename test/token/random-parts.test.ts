import { expect, test } from 'vitest'
import { randomParts } from '../../src/token/random-parts.ts'

test('random parts are eight bytes in hex, and no two are equal, over many draws', () => {
  const next = randomParts()
  const parts = Array.from({ length: 5000 }, next)
  expect(parts.every((part) => /^[0-9a-f]{16}$/.test(part))).toBe(true)
  expect(new Set(parts).size).toBe(parts.length)
})

test('nor are those of two that draw', () => {
  const [one, other] = [randomParts(), randomParts()]
  const parts = Array.from({ length: 600 }, () => [one(), other()]).flat()
  expect(new Set(parts).size).toBe(parts.length)
})
