import { describe, expect, test } from 'vitest'
import { parseToml } from '../src/toml.ts'

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

describe('what is nested too deeply is refused before the parser recurses', () => {
  test.each([
    ['inline tables', (n: number) => `a = ${'{a='.repeat(n)}1${'}'.repeat(n)}`],
    ['lists', (n: number) => `a = ${'['.repeat(n)}${']'.repeat(n)}`],
    ['a dotted key', (n: number) => `a${'.a'.repeat(n)} = 1`],
    ['the name of a table', (n: number) => `[a${'.a'.repeat(n - 1)}]`],
    ['a key of quoted parts', (n: number) => `"a"${" . 'a'".repeat(n)} = 1`],
    ['lists over many lines', (n: number) => `a = ${'[ # ]\n'.repeat(n)}${']'.repeat(n)}`],
  ])('%s', (_what, nested) => {
    expect(parseToml(nested(16), 'deep.toml').value).toBeTypeOf('object')
    for (const depth of [33, 5_000, 40_000]) {
      expect(() => parseToml(`\n${nested(depth)}`, 'deep.toml', 'POLICY_INVALID')).toThrow(
        expect.objectContaining({
          code: 'POLICY_INVALID',
          detail: expect.stringMatching(/^deep\.toml:\d+: nested more than 32 deep\.$/),
        }),
      )
    }
  })

  test('brackets and dots in strings and comments are none', () => {
    const many = '[{.'.repeat(100)
    const texts = [
      `a = "${many}\\"${many}"`,
      `a = '${many}\\'`,
      `a = """${many}\n\\"""${many}""""`,
      `a = '''${many}\n''${many}'''`,
      `a = 1 # ${many}`,
    ]
    for (const text of texts) expect(parseToml(text, 'x.toml').has(['a'])).toBe(true)
  })

  test('what follows a string that is not closed is counted', () => {
    for (const open of ['"', '"""', "'", "'''"]) {
      expect(() => parseToml(`a = ${open}\nb = ${'['.repeat(40_000)}`, 'x.toml')).toThrow(
        expect.objectContaining({ code: 'CONFIG_INVALID' }),
      )
    }
  })
})

test.each([
  ['many values', `a = [${'1,'.repeat(120_000)}]`],
  ['many keys', Array.from({ length: 30_000 }, (_, at) => `k${at}=1`).join('\n')],
])('%s are refused before the parser builds them', (_what, text) => {
  expect(() => parseToml(text, 'x.toml')).toThrow(
    expect.objectContaining({ detail: expect.stringMatching(/: too many keys and values\.$/) }),
  )
})

test('a long name above many keys costs its length once', () => {
  const keys = Array.from({ length: 9_000 }, (_, at) => `k${at}=1`).join('\n')
  const name = 'n'.repeat(16_000)
  const { lineOf } = parseToml(`["${name}"]\n${keys}`, 'x.toml')
  expect(lineOf([name, 'k8999'])).toBe(9_001)
})

test.each([
  ['"', '"'],
  ["'", "'"],
  ['"""', '"""'],
])('a string that is too long is refused, with its line: %s', (open, close) => {
  expect(() => parseToml(`\na = ${open}${'s'.repeat(200_000)}${close}`, 'x.toml')).toThrow(
    expect.objectContaining({ detail: 'x.toml:2: a string is too long.' }),
  )
  const { value } = parseToml(`a = ${open}${'s'.repeat(16_000)}${close}`, 'x.toml')
  expect(value).toEqual({ a: 's'.repeat(16_000) })
})

test('a byte order mark is passed over', () => {
  const { value, lineOf } = parseToml('\uFEFFa = 1\n', 'marked.toml')
  expect(value).toEqual({ a: 1 })
  expect(lineOf(['a'])).toBe(1)
})
