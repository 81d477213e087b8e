import { expect, test } from 'vitest'
import { asksForFresh } from '../../src/relay/request-rules.ts'

const ASKS = ['no-cache', 'No-Cache', 'max-age=0, no-cache', 'no-cache,no-store', 'no-cache="x"']
const DOES_NOT = [undefined, '', 'no-cachet', 'xno-cache', 'no-store', 'max-age=0', 'no_cache']

test('root asks for a fresh answer with no-cache, wherever it stands in the header', () => {
  expect(ASKS.filter((value) => !asksForFresh(value, 0))).toEqual([])
  expect(DOES_NOT.filter((value) => asksForFresh(value, 0))).toEqual([])
})

test('nobody else does', () => {
  expect(ASKS.filter((value) => asksForFresh(value, 1000))).toEqual([])
})
