import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import {
  decodeSealedCache,
  encodeSealedCache,
  SNAPSHOT_BYTES_MAX,
  startSealedCache,
  WRITE_AFTER_MS,
} from '../../src/metadata/sealed-cache.ts'
import type { MetadataSnapshot, SnapshotItem } from '../../src/metadata/snapshot.ts'

const item = (path: string, bytes: number): SnapshotItem => ({
  path,
  item: { body: Buffer.alloc(bytes, 7), contentType: 'text/plain' },
  fetchedAtMs: 1234.5,
})
const snapshot = (...items: SnapshotItem[]): MetadataSnapshot => ({ items, firstSeen: [] })
const NOTHING = snapshot()

test('any bytes come back as they were', () => {
  const boot = fc.double({ min: 0, max: 1e12, noNaN: true }).map((ms) => ms + 0)
  const items = fc.array(
    fc.record({
      path: fc.string(),
      item: fc.record({
        body: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
        contentType: fc.string(),
      }),
      fetchedAtMs: boot,
    }),
  )
  const firstSeen = fc.array(fc.tuple(fc.string(), boot))
  fc.assert(
    fc.property(fc.record({ items, firstSeen }), (some) => {
      expect(decodeSealedCache('i-1', encodeSealedCache('i-1', some))).toEqual(some)
    }),
  )
})

test('values of another instance are not taken over', () => {
  expect(decodeSealedCache('i-2', encodeSealedCache('i-1', snapshot(item('/a', 1))))).toEqual(
    NOTHING,
  )
})

test('values of another version of the file are not taken over', () => {
  for (const version of [1, 3]) {
    const file = { version, instanceId: 'i-1', items: [], firstSeen: [['a', 1]] }
    expect(decodeSealedCache('i-1', Buffer.from(JSON.stringify(file)))).toEqual(NOTHING)
  }
})

test('what comes first is kept first, and what is too large does not push out the rest', () => {
  const some = snapshot(item('/a', 10), item('/huge', SNAPSHOT_BYTES_MAX), item('/b', 10))
  const { items } = decodeSealedCache('i-1', encodeSealedCache('i-1', some))
  expect(items.map(({ path }) => path)).toEqual(['/a', '/b'])
  const many = Array.from({ length: 20 }, (_, at) => item(`/${at}`, SNAPSHOT_BYTES_MAX / 10))
  expect(decodeSealedCache('i-1', encodeSealedCache('i-1', snapshot(...many))).items.length).toBe(9)
  // To the last byte, its path and content type among them.
  const fits = (bytes: number) =>
    decodeSealedCache('i-1', encodeSealedCache('i-1', snapshot(item('/a', bytes)))).items.length
  const most = SNAPSHOT_BYTES_MAX - '/a'.length - 'text/plain'.length
  expect([fits(most), fits(most + 1)]).toEqual([1, 0])
})

test('nothing is written after the end', () => {
  vi.useFakeTimers()
  try {
    let written = 0
    const cache = startSealedCache('i-1', () => NOTHING, {
      write: () => {
        written += 1
      },
    })
    cache.changed()
    cache.end()
    expect(written).toBe(1)
    vi.advanceTimersByTime(2 * WRITE_AFTER_MS)
    expect(written).toBe(1)
  } finally {
    vi.useRealTimers()
  }
})

test('many changes are written once, and the last ones at the end', async () => {
  const written: MetadataSnapshot[] = []
  let items = snapshot(item('/a', 1))
  const cache = startSealedCache('i-1', () => items, {
    write: (bytes) => written.push(decodeSealedCache('i-1', bytes)),
  })
  for (let at = 0; at < 100; at += 1) cache.changed()
  expect(written).toEqual([])
  await sleep(WRITE_AFTER_MS + 300)
  expect(written).toEqual([items])
  cache.changed()
  items = snapshot(item('/b', 2))
  cache.end()
  expect(written.slice(1)).toEqual([items])
  cache.changed()
  cache.end()
  expect(written.length).toBe(2)
})
