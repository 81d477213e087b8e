import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  audiencePattern,
  filePattern,
  namePattern,
  overlap,
  pathPattern,
} from '../../src/policy/pattern.ts'

describe('path', () => {
  test.each([
    [
      '/latest/user-data',
      ['/latest/user-data'],
      ['/latest/user-data2', '/latest', '/latest/user-data/x'],
    ],
    [
      '/*/user-data',
      ['/latest/user-data', '/2016-01-01/user-data'],
      ['/user-data', '/a/b/user-data'],
    ],
    ['/a/**', ['/a', '/a/b', '/a/b/c'], ['/', '/ab', '/b/a']],
    ['/a/*/**', ['/a/b', '/a/b/c'], ['/a', '/b/a']],
    ['/a/*', ['/a/b'], ['/a', '/a/b/c']],
    ['/**', ['/', '/a', '/a/b'], []],
    ['/', ['/'], ['/a']],
    ['/a.b', ['/a.b'], ['/aXb']],
    ['/a(b)+$', ['/a(b)+$'], ['/ab', '/abb']],
  ])('%s', (text, matching, others) => {
    const pattern = pathPattern(text)
    expect(matching.filter((path) => !pattern.matches(path))).toEqual([])
    expect(others.filter((path) => pattern.matches(path))).toEqual([])
  })

  test.each([
    ['latest', 'begin with a slash'],
    ['', 'begin with a slash'],
    ['/latest/', "'/**' is all below"],
    ['//latest', 'two in a row'],
    ['/**/x', 'at its end only'],
    ['/**/**', 'at its end only'],
    ['/lat*', 'neither a plain path segment'],
    ['/a/../b', 'dot segments'],
    ['/a/./b', 'dot segments'],
    ['/a%2fb', 'neither a plain path segment'],
    ['/a b', 'neither a plain path segment'],
    ['/a\n', 'neither a plain path segment'],
    [`/${'a'.repeat(1024)}`, 'longer than 1024'],
  ])('%j is no pattern', (text, why) => {
    expect(() => pathPattern(text)).toThrow(why)
  })

  const segment = fc.stringMatching(/^[a-c]{1,2}$/)
  const path = fc.array(segment, { maxLength: 4 }).map((segments) => `/${segments.join('/')}`)
  const pattern = fc
    .tuple(fc.array(fc.oneof(segment, fc.constant('*')), { maxLength: 3 }), fc.boolean())
    .map(([segments, below]) => `/${[...segments, ...(below ? ['**'] : [])].join('/')}`)
    .map(pathPattern)

  test('a path as a pattern matches itself and nothing else', () => {
    fc.assert(
      fc.property(path, path, (one, other) => {
        expect(pathPattern(one).matches(other)).toBe(one === other)
      }),
    )
  })

  test('two patterns that match one path overlap', () => {
    fc.assert(
      fc.property(pattern, pattern, path, (one, other, both) => {
        fc.pre(one.matches(both) && other.matches(both))
        expect(overlap(one, other)).toBe(true)
        expect(overlap(other, one)).toBe(true)
      }),
    )
  })

  test.each([
    ['/a/**', '/b/**'],
    ['/a', '/a/b'],
    ['/a/*', '/a'],
    ['/*/a', '/*/b'],
  ])('%s and %s do not overlap', (one, other) => {
    expect(overlap(pathPattern(one), pathPattern(other))).toBe(false)
    expect(overlap(pathPattern(other), pathPattern(one))).toBe(false)
  })
})

describe('name', () => {
  test.each([
    ['app.service', ['app.service'], ['app.service2', 'xapp.service', 'appXservice', 'app.servic']],
    [
      'app@*.service',
      ['app@1.service', 'app@.service'],
      ['app.service', 'app@1.scope', 'xapp@1.service'],
    ],
    ['*', ['', 'anything'], []],
    ['a*a', ['aa', 'aba'], ['a', 'ab', 'baa']],
    ['a*b*c', ['abc', 'axbxc', 'abbcc'], ['acb', 'ab', 'ac']],
    ['ab*ba', ['abba', 'abxba'], ['aba']],
    ['a*bc*bc', ['abcbc', 'abcbcbc'], ['abc']],
  ])('%s', (text, matching, others) => {
    const pattern = namePattern(text)
    expect(matching.filter((name) => !pattern.matches(name))).toEqual([])
    expect(others.filter((name) => pattern.matches(name))).toEqual([])
  })

  test('is what an anchored regular expression says', () => {
    const text = fc.stringMatching(/^[ab]{0,8}$/)
    const written = fc.stringMatching(/^[ab*]{1,6}$/).filter((one) => !one.includes('**'))
    fc.assert(
      fc.property(written, text, (one, name) => {
        const regExp = new RegExp(`^${one.replaceAll('*', '.*')}$`)
        expect(namePattern(one).matches(name)).toBe(regExp.test(name))
      }),
      { numRuns: 2000 },
    )
  })

  test.each(['', 'a/b', 'a**'])('%j is no pattern', (text) => {
    expect(() => namePattern(text)).toThrow(/must/)
  })
})

describe('file', () => {
  test('an asterisk stays within its segment', () => {
    const pattern = filePattern('/opt/*/bin/app-*')
    expect(pattern.matches('/opt/x/bin/app-2')).toBe(true)
    expect(pattern.matches('/opt/x/y/bin/app-2')).toBe(false)
    expect(pattern.matches('/opt/x/bin/app-2/evil')).toBe(false)
    expect(pattern.matches('/opt/x/bin/app-2 (deleted)')).toBe(true)
    expect(filePattern('/usr/bin/app').matches('/usr/bin/app (deleted)')).toBe(false)
    expect(filePattern('/usr/bin/app').matches('usr/bin/app')).toBe(false)
    expect(filePattern('/usr/bin/app').matches(':usr/bin/app')).toBe(false)
  })

  test.each(['app', '/usr//bin', '/usr/../bin/x', '/usr/./x', '/usr/**', '/', ''])(
    '%j is no pattern',
    (text) => {
      expect(() => filePattern(text)).toThrow(/must/)
    },
  )
})

test.each([
  ['a path', pathPattern, '/'],
  ['a name', namePattern, ''],
  ['a file', filePattern, '/'],
] as const)('%s is 1024 characters long at most', (_what, parse, begin) => {
  const longest = begin.padEnd(1024, 'a')
  expect(parse(longest).matches(longest)).toBe(true)
  expect(() => parse(`${longest}a`)).toThrow(
    expect.objectContaining({ name: 'PatternProblem', message: expect.stringContaining('1024') }),
  )
})

test.each([
  'https://evil.test?.example',
  'https://evil.test#.example',
  'https://user@.example',
  'https://evil.test\\.example',
])('an asterisk of a URL never ends its host before what the pattern says: %s', (audience) => {
  expect(audiencePattern('https://*.example').matches(audience)).toBe(false)
  expect(audiencePattern('https://api.example').matches('https://api.example')).toBe(true)
  expect(audiencePattern('https://*@api.example').matches('https://a@api.example')).toBe(true)
  expect(audiencePattern('*').matches('user@host')).toBe(true)
})
