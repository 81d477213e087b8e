import { describe, expect, test } from 'vitest'
import { parseToml } from '../../src/format/toml.ts'

const TEXT = `# a comment
top = 1

[server]
name = "x"
deep.er = true
inline = { one = 1, two.three = 2 }

[server.'quoted key']
"a b" = []

[[list]]
first = 1

[[list]]
second = 2
`
const document = parseToml(TEXT, 'example.toml')

test('the value is what the text says', () => {
  expect(document.value).toEqual({
    top: 1,
    server: {
      name: 'x',
      deep: { er: true },
      inline: { one: 1, two: { three: 2 } },
      'quoted key': { 'a b': [] },
    },
    list: [{ first: 1 }, { second: 2 }],
  })
})

test.each([
  [['top'], 2],
  [['server'], 4],
  [['server', 'name'], 5],
  [['server', 'deep', 'er'], 6],
  [['server', 'inline', 'one'], 7],
  [['server', 'inline', 'two', 'three'], 7],
  [['server', 'quoted key'], 9],
  [['server', 'quoted key', 'a b'], 10],
  [['list', 0, 'first'], 13],
  [['list', 1], 15],
  [['list', 1, 'second'], 16],
])('%j is on line %i', (path, line) => {
  expect(document.lineOf(path)).toBe(line)
  expect(document.has(path)).toBe(true)
})

test.each([
  [['server', 'name', 'below'], 5],
  [['server', 'absent'], 4],
  [['server', 'quoted key', 'a b', 3], 10],
  [['absent'], 1],
  [[], 1],
])('%j, which is not there, is looked for on line %i', (path, line) => {
  expect(document.lineOf(path)).toBe(line)
  expect(document.has(path)).toBe(false)
})

describe('what is not TOML is refused with its line', () => {
  test.each([
    ['a = x\n', 1],
    ['a = 1\n\nb', 3],
    ['a = 1\na = 2\n', 2],
    ['[t]\n[t]\n', 2],
    ['a = "open\n', 1],
    ['a = 01\n', 1],
    ['a = 1 b = 2\n', 1],
    ['\u0000', 1],
    // Of TOML 1.1 only:
    ['a = "\\e"\n', 1],
  ])('%j', (text, line) => {
    expect(() => parseToml(text, 'bad.toml')).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        detail: expect.stringMatching(new RegExp(`^bad\\.toml:${line}: `)),
      }),
    )
  })
})

test('an empty text is an empty table', () => {
  expect(parseToml('', 'empty.toml').value).toEqual({})
})

test('names that objects have by nature are keys like others', () => {
  const { value, has } = parseToml('constructor = 1\n', 'odd.toml')
  expect(value).toEqual({ constructor: 1 })
  expect(has(['constructor'])).toBe(true)
  expect(has(['toString'])).toBe(false)
})

test.each([
  '__proto__ = 1',
  '"__proto__" = { a = 1 }',
  '[__proto__]',
  '[a.__proto__.b]',
  'a.__proto__ = 1',
  'a = { __proto__ = {} }',
])('the one name that would go unseen is refused: %s', (text) => {
  expect(() => parseToml(`\n${text}\n`, 'odd.toml')).toThrow(
    expect.objectContaining({ detail: 'odd.toml:2: __proto__ cannot be a key.' }),
  )
})
