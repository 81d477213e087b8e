import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Point, slopeOf, thinned, verdictOf } from './slope.ts'

const noise = (at: number) => Math.sin(at * 12.9898) * 0.5
const line = (rise: number, count = 60): Point[] =>
  Array.from({ length: count }, (_, at) => [at / count, 100 + (rise * at) / count + noise(at)])

describe('the slope', () => {
  test('of a line is its rise, whatever the noise', () => {
    const slope = slopeOf(line(5))
    expect(slope?.median).toBeCloseTo(5, 0)
    expect(slope?.low).toBeLessThan(5)
    expect(slope?.high).toBeGreaterThan(5)
  })

  test('is the same if a few points are wild', () => {
    const wild = line(5).map(([x, y], at): Point => [x, at % 20 === 0 ? y + 1000 : y])
    expect(slopeOf(wild)?.median).toBeCloseTo(5, 0)
  })

  test('lies between its bounds, which turn over with the series', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 8 }), (ys) => {
        const slope = slopeOf(ys.map((y, x): Point => [x, y]))
        const turned = slopeOf(ys.map((y, x): Point => [x, -y]))
        expect(slope?.low).toBeLessThanOrEqual(slope?.median ?? 0)
        expect(slope?.median).toBeLessThanOrEqual(slope?.high ?? 0)
        expect(turned?.low).toBeLessThanOrEqual(-(slope?.median ?? 0))
        expect(turned?.high).toBeGreaterThanOrEqual(-(slope?.median ?? 0))
      }),
    )
  })

  test('of too few points is none', () => {
    expect(slopeOf(line(5, 7))).toBeUndefined()
    expect(verdictOf(undefined, 1)).toBe('not shown')
  })
})

describe('the verdict', () => {
  test.each([
    [0, 2, 'level'],
    [-10, 2, 'level'],
    [1, 2, 'level'],
    [5, 2, 'rises'],
    // The noise is as large as the bound: neither can be said.
    [0.1, 0.1, 'not shown'],
  ] as const)('of a rise of %d with a bound of %d is: %s', (rise, bound, verdict) => {
    expect(verdictOf(slopeOf(line(rise)), bound)).toBe(verdict)
  })

  test('of what never changes is level', () => {
    expect(verdictOf(slopeOf(line(0).map(([x]): Point => [x, 36])), 1)).toBe('level')
  })
})

test('a saw is judged by its feet', () => {
  const saw = Array.from({ length: 120 }, (_, at): Point => [at, 20 + (at % 6)])
  const feet = thinned(saw, 6, 'least')
  expect(feet.every(([, y]) => y === 20)).toBe(true)
  expect(feet).toHaveLength(20)
  expect(thinned(saw, 6, 'median')[0]?.[1]).toBe(22)
})
