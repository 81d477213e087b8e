import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { SOON_MS, singleflight } from '../../src/metadata/singleflight.ts'

const WITHIN_MS = 900

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('a read is under way until it ends, however it ends', async () => {
  const flights = singleflight<string>(WITHIN_MS)
  const [good, bad] = [Promise.withResolvers<string>(), Promise.withResolvers<string>()]
  const flight = flights.launch('a', good.promise)
  flights.launch('b', bad.promise).landed.catch(() => undefined)
  expect([flights.underWay('a'), flights.count]).toEqual([flight, 2])
  good.resolve('value')
  bad.reject(new Error('no'))
  expect(await flight.landed).toBe('value')
  await vi.advanceTimersByTimeAsync(0)
  expect([flights.underWay('a'), flights.count]).toEqual([undefined, 0])
})

test('who has an old answer waits a quarter of a second, who has none for the bound', async () => {
  const flight = singleflight<string>(WITHIN_MS).launch('a', new Promise(() => undefined))
  const late = expect(flight.landed).rejects.toMatchObject({ code: 'SOURCE_DOWN' })
  await vi.advanceTimersByTimeAsync(SOON_MS)
  expect(await flight.soon).toBeUndefined()
  await vi.advanceTimersByTimeAsync(WITHIN_MS - SOON_MS)
  await late
})

test('what is late is still under way, and is not asked for twice', async () => {
  const flights = singleflight<string>(WITHIN_MS)
  const asking = Promise.withResolvers<string>()
  flights.launch('a', asking.promise)
  await vi.advanceTimersByTimeAsync(2 * WITHIN_MS)
  expect(flights.count).toBe(1)
  asking.resolve('late')
  await vi.advanceTimersByTimeAsync(0)
  expect(flights.count).toBe(0)
})
