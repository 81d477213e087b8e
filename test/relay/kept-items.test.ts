import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  decodeItems,
  encodeItems,
  KEEP_AFTER_MS,
  KEPT_BYTES_MAX,
  keepItems,
} from '../../src/relay/kept-items.ts'
import type { KeptItem } from '../../src/relay/metadata.ts'

const item = (path: string, bytes: number): KeptItem => ({
  path,
  item: { body: Buffer.alloc(bytes, 7), contentType: 'text/plain' },
  fetchedAtMs: 1234.5,
  seenAtMs: 1000,
})

test('any bytes come back as they were', () => {
  const kept = fc.record({
    path: fc.string(),
    item: fc.record({
      body: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
      contentType: fc.string(),
    }),
    fetchedAtMs: fc.double({ min: 0, max: 1e12, noNaN: true }).map((ms) => ms + 0),
    seenAtMs: fc.nat(),
  })
  fc.assert(
    fc.property(fc.array(kept), (items) => {
      expect(decodeItems('i-1', encodeItems('i-1', items))).toEqual(items)
    }),
  )
})

test('values of another instance are not taken over', () => {
  expect(decodeItems('i-2', encodeItems('i-1', [item('/a', 1)]))).toEqual([])
})

test('values of another version of the file are not taken over', () => {
  expect(decodeItems('i-1', Buffer.from('{"version":2,"instanceId":"i-1","items":[]}'))).toEqual([])
})

test('what comes first is kept first, and what is too large does not push out the rest', () => {
  const items = [item('/a', 10), item('/huge', KEPT_BYTES_MAX), item('/b', 10)]
  const paths = decodeItems('i-1', encodeItems('i-1', items)).map(({ path }) => path)
  expect(paths).toEqual(['/a', '/b'])
  const many = Array.from({ length: 20 }, (_, at) => item(`/${at}`, KEPT_BYTES_MAX / 10))
  expect(decodeItems('i-1', encodeItems('i-1', many)).length).toBe(9)
})

test('many changes are written once, and the last ones at the end', async () => {
  const written: KeptItem[][] = []
  let items = [item('/a', 1)]
  const keeper = keepItems('i-1', () => items, {
    write: (bytes) => written.push(decodeItems('i-1', bytes)),
  })
  for (let at = 0; at < 100; at += 1) keeper.changed()
  expect(written).toEqual([])
  await sleep(KEEP_AFTER_MS + 300)
  expect(written).toEqual([items])
  keeper.changed()
  items = [item('/b', 2)]
  keeper.end()
  expect(written.slice(1)).toEqual([items])
  keeper.changed()
  keeper.end()
  expect(written.length).toBe(2)
})
