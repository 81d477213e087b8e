import { expect, test } from 'vitest'
import { ago, bytes, several, shown, span, whoIs } from '../../src/page/words.ts'

test('what cannot be seen is spelled out, and what is long is cut', () => {
  expect(shown('a\u202eb\0c\u2028\x1b[2J')).toBe('a\\u{202e}b\\u{0}c\\u{2028}\\u{1b}[2J')
  expect(shown('\ud800')).toBe('\\u{d800}')
  expect(shown('<b>&amp;')).toBe('<b>&amp;')
  expect(shown('x'.repeat(5000))).toHaveLength(301)
})

test.each([
  [0, '0 s'],
  [59.9, '59 s'],
  [61, '1 min 1 s'],
  [3600, '1 h'],
  [90_061, '1 d 1 h'],
  [-5, '0 s'],
  [Number.NaN, '?'],
])('%d seconds are %s', (seconds, words) => {
  expect(span(seconds)).toBe(words)
})

test('ages are by the clock that is given, and never of the future', () => {
  const at = '2026-01-01T00:00:00.000Z'
  expect(ago(at, Date.parse(at) + 65_000)).toBe('1 min 5 s ago')
  expect(ago(at, Date.parse(at) - 65_000)).toBe('now')
})

test('numbers have their nouns', () => {
  expect([several(1, 'token'), several(1200, 'token')]).toEqual(['1 token', '1,200 tokens'])
  expect([bytes(12), bytes(20_480)]).toEqual(['12 B', '20 KiB'])
})

test('a caller is a user and a place', () => {
  expect(whoIs({ uid: 33, user: 'www-data', unit: 'nginx.service' })).toEqual([
    'www-data (uid 33)',
    'nginx.service',
  ])
  expect(whoIs({ uid: 0, container: 'c'.repeat(64) })[1]).toBe(`container ${'c'.repeat(64)}`)
  expect(whoIs({})).toEqual(['a user that the kernel does not name', 'in no unit'])
  // Root of a container perhaps: nobody has looked.
  expect(whoIs({ uid: 0, user: 'root', isPlaced: false })).toEqual([
    'root (uid 0)',
    'unit not known',
  ])
})
