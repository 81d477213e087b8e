import assert from 'node:assert/strict'
import { parseConfig } from '../../../src/config.ts'
import { parseToml } from '../../../src/toml.ts'
import { Choices } from '../choices.ts'
import { asItIs, CHOSEN, chosen, type FuzzTarget, outcome } from '../target.ts'

const DEFAULTS = parseConfig([])
/** Every table with its keys, as the schema has them. */
const TABLES = Object.entries(DEFAULTS).flatMap(([table, keys]) =>
  typeof keys === 'object' && keys !== null ? [[table, Object.keys(keys)] as const] : [],
)
const VALUES = [
  ...[
    '0',
    '1',
    '-1',
    '600',
    '99999999999999999999',
    '1.5',
    'nan',
    '1979-05-27',
    'true',
    '""',
    '"0660"',
    '"/run/x"',
  ],
  ...[
    '"device:/dev/tpmrm0"',
    '"swtpm:"',
    '[]',
    '["/a"]',
    '{}',
    '{ a = 1 }',
    '"ec2"',
    '"aliyun"',
    '"require"',
  ],
  ...['"http://100.100.100.200"', '"http://h:1/"', "'''x'''", '"\\u0000"', '"\\ud800"', '"debug"'],
] as const
const BREAKS = ['\n', '\r\n', ' # x\n', '\r', '', '\ufeff'] as const

export const target: FuzzTarget = {
  execution: 'one or two files of configuration read as TOML, merged, and judged by the schema',
  bytesMax: 768,
  words: [
    ...TABLES.map(([table]) => `[${table}]`),
    ...TABLES.flatMap(([, keys]) => keys.map((key) => `${key} = `)),
    ...VALUES,
  ],
  seeds: () => [
    asItIs('[source]\ndialect = "ec2"\n[log]\nlevel = "debug"\n'),
    asItIs('a.b.c = [[[1]]]\n"__proto__" = 1\n'),
    asItIs('x = """\n\\u0041""" # c\n[[t]]\n[t.u]\n'),
    ...TABLES.map((_, table) => chosen(1, table, 0, 0, 3, 0, table, 1, 0, 12, 0)),
  ],
  run(input) {
    const choices = new Choices(input)
    const text = choices.byte() === CHOSEN ? built(choices) : choices.rest().toString('utf8')
    const toml = outcome(() => parseToml(text, 'a.toml'))
    if (toml.value === undefined) assert.equal(toml.code, 'CONFIG_INVALID')
    else requirePlaces(toml.value, text)
    const config = outcome(() => parseConfig([{ file: 'a.toml', text }]))
    if (config.value === undefined) {
      assert.equal(config.code, 'CONFIG_INVALID')
      return
    }
    assert.ok(toml.value !== undefined && Object.isFrozen(config.value))
    assert.deepEqual(Object.keys(config.value).sort(), Object.keys(DEFAULTS).sort())
    // A file that says the same again, or nothing, changes nothing.
    const twice = [text, text, ''].map((each, at) => ({ file: `${at}.toml`, text: each }))
    assert.deepEqual(parseConfig(twice), config.value)
    // No key of a file reaches what all objects have.
    assert.equal(Reflect.get({}, 'polluted') ?? Reflect.get({}, 'dialect'), undefined)
  },
}

/** Every key has a line that the document has. */
function requirePlaces(document: ReturnType<typeof parseToml>, text: string): void {
  assert.ok(typeof document.value === 'object' && document.value !== null)
  const lines = text.split('\n').length
  for (const key of Object.keys(document.value)) {
    assert.ok(document.has([key]) || document.lineOf([key]) === 1)
    const line = document.lineOf([key])
    assert.ok(line >= 1 && line <= lines, `${key}: line ${line} of ${lines}`)
  }
}

function built(choices: Choices): string {
  let text = choices.isTrue() ? '' : choices.pick(BREAKS)
  while (!choices.isEmpty && text.length < 8192) {
    const [table, keys] = TABLES[choices.below(TABLES.length)] ?? ['source', []]
    const head = choices.pick([
      `[${table}]\n`,
      `${table}.`,
      `[${table}]\r\n`,
      `[[${table}]]\n`,
      `[ "${table}" ]\n`,
    ])
    const key = keys[choices.below(keys.length || 1)] ?? 'x'
    text += `${head}${key} = ${choices.pick(VALUES)}${choices.pick(BREAKS)}`
  }
  return text
}
