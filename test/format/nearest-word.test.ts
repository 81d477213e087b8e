import { expect, test } from 'vitest'
import { nearestWord } from '../../src/format/nearest-word.ts'

const WORDS = ['status', 'token', 'get', 'policy check', 'policy suggest', '--json', '--socket']

test.each([
  ['statsu', 'status'],
  ['stat', undefined],
  ['tokne', 'token'],
  ['gte', 'get'],
  ['policy chekc', 'policy check'],
  ['--jsno', '--json'],
  ['--soket', '--socket'],
  ['x', undefined],
  ['', undefined],
  ['constructor', undefined],
])('%j is near %j', (word, nearest) => {
  expect(nearestWord(word, WORDS)).toBe(nearest)
})
