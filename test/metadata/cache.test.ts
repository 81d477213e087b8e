import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { boundedCache, ENTRY_BYTES, type Rank } from '../../src/metadata/cache.ts'

const wide = { entriesMax: 100, bytesMax: 1_000_000 }
const forEver = Number.POSITIVE_INFINITY

function clocked(bounds = wide) {
  const clock = { ms: 0 }
  return { clock, cache: boundedCache<string>(bounds, () => clock.ms) }
}

describe('end of a value', () => {
  test('a value is there until its end and not at it', () => {
    const { clock, cache } = clocked()
    cache.set('a', 'A', { bytes: 1, rank: 1, endsAtMs: 10 })
    clock.ms = 9
    expect(cache.get('a')).toBe('A')
    clock.ms = 10
    expect(cache.get('a')).toBeUndefined()
    expect([cache.count, cache.bytes]).toEqual([0, 0])
  })

  test('sweeping drops what has ended and leaves the rest', () => {
    const { clock, cache } = clocked()
    cache.set('a', 'A', { bytes: 1, rank: 2, endsAtMs: 10 })
    cache.set('b', 'B', { bytes: 1, rank: 0, endsAtMs: forEver })
    clock.ms = 10
    cache.sweep()
    expect(cache.entries()).toEqual([['b', 'B']])
    expect(cache.count).toBe(1)
  })

  test('a value that has ended is in no listing, swept or not', () => {
    const { clock, cache } = clocked()
    cache.set('a', 'A', { bytes: 1, rank: 1, endsAtMs: 10 })
    cache.set('b', 'B', { bytes: 1, rank: 1, endsAtMs: 11 })
    clock.ms = 10
    expect(cache.entries()).toEqual([['b', 'B']])
    expect(cache.count).toBe(2)
  })

  test('a listing has all ranks, or those from one on', () => {
    const { cache } = clocked()
    for (const rank of [0, 2, 1] as const) {
      cache.set(`r${rank}`, '', { bytes: 1, rank, endsAtMs: forEver })
    }
    const keys = (least?: Rank) => cache.entries(least).map(([key]) => key)
    expect([keys(), keys(1), keys(2)]).toEqual([['r2', 'r1', 'r0'], ['r2', 'r1'], ['r2']])
  })

  test('a value that has ended already is not kept', () => {
    const { clock, cache } = clocked()
    clock.ms = 10
    cache.set('a', 'A', { bytes: 1, rank: 2, endsAtMs: 10 })
    expect(cache.count).toBe(0)
  })
})

describe('bounds', () => {
  test('what fills them to the last byte fits in', () => {
    const bytesMax = 1000
    const { cache } = clocked({ entriesMax: 100, bytesMax })
    cache.set('a', 'A', { bytes: bytesMax - 2 - ENTRY_BYTES, rank: 1, endsAtMs: forEver })
    expect([cache.get('a'), cache.bytes]).toEqual(['A', bytesMax])
    cache.set('b', 'B', { bytes: bytesMax - 1 - ENTRY_BYTES, rank: 1, endsAtMs: forEver })
    expect([cache.get('a'), cache.get('b')]).toEqual(['A', undefined])
  })

  test('the least recently used goes first', () => {
    const { cache } = clocked({ ...wide, entriesMax: 2 })
    cache.set('a', 'A', { bytes: 1, rank: 1, endsAtMs: forEver })
    cache.set('b', 'B', { bytes: 1, rank: 1, endsAtMs: forEver })
    cache.get('a')
    cache.set('c', 'C', { bytes: 1, rank: 1, endsAtMs: forEver })
    expect(cache.entries().map(([key]) => key)).toEqual(['c', 'a'])
  })

  test('also after one was read again and again, and another replaced', () => {
    const { cache } = clocked({ ...wide, entriesMax: 3 })
    const put = (key: string) => cache.set(key, key, { bytes: 1, rank: 1, endsAtMs: forEver })
    for (const key of ['a', 'b', 'c']) put(key)
    for (const key of ['a', 'a', 'b', 'b', 'a']) cache.get(key)
    expect(cache.entries().map(([key]) => key)).toEqual(['a', 'b', 'c'])
    put('a')
    cache.get('c')
    cache.delete('c')
    put('c')
    cache.get('b')
    expect(cache.entries().map(([key]) => key)).toEqual(['b', 'c', 'a'])
  })

  test('a flood of paths that do not exist pushes out nothing else', () => {
    const { cache } = clocked({ ...wide, entriesMax: 10 })
    cache.set('credentials', 'C', { bytes: 1, rank: 2, endsAtMs: forEver })
    cache.set('hostname', 'H', { bytes: 1, rank: 1, endsAtMs: forEver })
    for (let at = 0; at < 1000; at += 1) {
      cache.set(`absent-${at}`, '', { bytes: 0, rank: 0, endsAtMs: forEver })
    }
    expect(cache.get('credentials')).toBe('C')
    expect(cache.get('hostname')).toBe('H')
    expect(cache.count).toBe(10)
  })

  test('one value larger than all room is not kept, and empties nothing', () => {
    const { cache } = clocked({ entriesMax: 10, bytesMax: 2000 })
    cache.set('a', 'A', { bytes: 1, rank: 0, endsAtMs: forEver })
    cache.set('b', 'B', { bytes: 2000, rank: 2, endsAtMs: forEver })
    expect(cache.entries()).toEqual([['a', 'A']])
  })

  test('replacing a value frees its bytes, under another rank too', () => {
    const { cache } = clocked()
    cache.set('a', 'A', { bytes: 500, rank: 0, endsAtMs: forEver })
    cache.set('a', 'B', { bytes: 10, rank: 2, endsAtMs: forEver })
    expect(cache.entries()).toEqual([['a', 'B']])
    expect(cache.bytes).toBe(10 + 2 + ENTRY_BYTES)
  })
})

describe('properties', () => {
  const key = fc.integer({ min: 0, max: 30 }).map((number) => `k${number}`)
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('set' as const),
      key,
      bytes: fc.integer({ min: 0, max: 3000 }),
      rank: fc.constantFrom<Rank>(0, 1, 2),
      lives: fc.integer({ min: -5, max: 50 }),
    }),
    fc.record({ kind: fc.constant('get' as const), key }),
    fc.record({ kind: fc.constant('delete' as const), key }),
    fc.record({ kind: fc.constant('sweep' as const) }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 20 }) }),
  )
  const bounds = fc.record({
    entriesMax: fc.integer({ min: 1, max: 20 }),
    bytesMax: fc.integer({ min: 300, max: 12_000 }),
  })

  test('no order of steps passes the bounds, miscounts, or gives a value after its end or another key’s', () => {
    fc.assert(
      fc.property(bounds, fc.array(step, { maxLength: 200 }), (limits, steps) => {
        let ms = 0
        let made = 0
        const cache = boundedCache<string>(limits, () => ms)
        const last = new Map<string, { value: string; endsAtMs: number; bytes: number }>()
        for (const taken of steps) {
          if (taken.kind === 'set') {
            made += 1
            const value = `${taken.key}#${made}`
            const endsAtMs = ms + taken.lives
            cache.set(taken.key, value, { bytes: taken.bytes, rank: taken.rank, endsAtMs })
            const bytes = taken.bytes + 2 * taken.key.length + ENTRY_BYTES
            last.set(taken.key, { value, endsAtMs, bytes })
          } else if (taken.kind === 'get') {
            const got = cache.get(taken.key)
            const known = last.get(taken.key)
            if (got !== undefined) expect(got).toBe(known?.value)
            if (got !== undefined) expect(ms).toBeLessThan(known?.endsAtMs ?? 0)
          } else if (taken.kind === 'delete') {
            cache.delete(taken.key)
            last.delete(taken.key)
          } else if (taken.kind === 'sweep') cache.sweep()
          else ms += taken.ms
          expect(cache.count).toBeLessThanOrEqual(limits.entriesMax)
          expect(cache.bytes).toBeLessThanOrEqual(limits.bytesMax)
        }
        cache.sweep()
        const held = cache.entries().map(([name]) => last.get(name)?.bytes ?? Number.NaN)
        expect(cache.bytes).toBe(held.reduce((sum, bytes) => sum + bytes, 0))
        expect(cache.count).toBe(held.length)
      }),
      { numRuns: 300 },
    )
  })

  test('with room for all, nothing is lost', () => {
    const some = fc.uniqueArray(key, { maxLength: 30 })
    fc.assert(
      fc.property(some, (keys) => {
        const { cache } = clocked()
        for (const name of keys) cache.set(name, name, { bytes: 9, rank: 1, endsAtMs: forEver })
        expect(keys.map((name) => cache.get(name))).toEqual(keys)
      }),
    )
  })
})
