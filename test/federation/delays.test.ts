import { expect, test } from 'vitest'
import { heldMs, refusedMs, renewMs, retryMs } from '../../src/federation/delays.ts'

test('retries double up to five minutes, each spread over its half', () => {
  expect([0, 1, 2, 3].map((failures) => retryMs(failures, 1))).toEqual([1000, 2000, 4000, 8000])
  expect(retryMs(3, 0)).toBe(4000)
  expect(retryMs(1000, 1)).toBe(300_000)
  expect(retryMs(0, 0, 60_000)).toBe(60_500)
})

test('a renewal is at half of the life, a tenth earlier or later, within what a timer can be', () => {
  expect([0, 0.5, 1].map((random) => Math.round(renewMs(1_000_000, random)))).toEqual([
    450_000, 500_000, 550_000,
  ])
  expect(renewMs(Number.MAX_SAFE_INTEGER, 1)).toBe(2_147_483_647)
})

test('a life of next to nothing keeps TPM and registrar no busier than one of minutes', () => {
  expect(renewMs(1, 0)).toBeGreaterThan(50_000)
})

test('who is refused asks a tenth as often as who is held', () => {
  expect(refusedMs(0)).toBeGreaterThan(10 * heldMs(1))
})
