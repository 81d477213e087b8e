import { expect, test } from 'vitest'
import { MetabindError } from '../../src/errors.ts'
import type { Item, Source } from '../../src/metadata/source.ts'
import { ofPath } from '../../src/metadata/target.ts'
import { watchedSource } from '../../src/metadata/watched-source.ts'

const ITEM: Item = { body: Buffer.from('x'), contentType: 'text/plain' }
const giving = (give: () => Item): Source => ({
  read: async () => give(),
  close: async () => undefined,
})
const failing = (error: Error) =>
  giving(() => {
    throw error
  })
const read = (source: Source) => source.read(ofPath('/latest')).catch(() => undefined)

test('says when the source answered last; that there is nothing is an answer', async () => {
  const source = watchedSource(
    giving(() => ITEM),
    () => 5,
  )
  expect(source.last).toEqual({ answeredAtMs: undefined, failure: undefined })
  expect(await read(source)).toBe(ITEM)
  expect(source.last).toEqual({ answeredAtMs: 5, failure: undefined })
  const absent = watchedSource(failing(new MetabindError('METADATA_ABSENT')), () => 6)
  await read(absent)
  expect(absent.last).toEqual({ answeredAtMs: 6, failure: undefined })
})

test('and why and when it failed last', async () => {
  const error = new MetabindError('SOURCE_DOWN', 'status 500')
  const source = watchedSource(failing(error), () => 7)
  await expect(source.read(ofPath('/latest'))).rejects.toBe(error)
  expect(source.last).toEqual({ answeredAtMs: undefined, failure: { error, atMs: 7 } })
  const broken = watchedSource(failing(new Error('its text may be anything')), () => 8)
  await read(broken)
  expect(broken.last.failure?.error.code).toBe('INTERNAL')
})

test('and is closed with the source that it watches', async () => {
  let closed = 0
  const close = async () => {
    closed += 1
  }
  const source = watchedSource({ ...giving(() => ITEM), close }, () => 0)
  await source.close()
  expect(closed).toBe(1)
})
