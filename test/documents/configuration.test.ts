import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { parseConfig } from '../../src/config.ts'
import { DIALECT_NAMES } from '../../src/format/dialect-name.ts'

const PAGE = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8')
const SECTION = /^## (\w+)$/
const ROW = /^\| `(\w+)` \| (?:`(.+?)`|.+?) \|/

// Keys whose default is not a value of the file, and what is shown instead.
const WITHOUT_DEFAULT = [
  'source.endpoint',
  'source.identity_certificate',
  'tpm.ek_anchors',
  'tpm.ak_anchors',
  'tpm.ak_certificate',
  'policy.file',
  'audit.file',
]
const OCTAL = /_mode$/

function documented(): Map<string, string | undefined> {
  const rows = new Map<string, string | undefined>()
  let section = ''
  for (const line of PAGE.split('\n')) {
    section = SECTION.exec(line)?.[1] ?? section
    const row = ROW.exec(line)
    if (row !== null) rows.set(`${section}.${row[1]}`, row[2])
  }
  return rows
}

function defaults(): Map<string, string> {
  const rows = new Map<string, string>()
  for (const [section, keys] of Object.entries(parseConfig([]))) {
    for (const [key, value] of Object.entries(keys)) {
      if (value === undefined) continue
      const shown = OCTAL.test(key) ? Number(value).toString(8).padStart(4, '0') : value
      rows.set(`${section}.${key}`, JSON.stringify(shown).replaceAll(',', ', '))
    }
  }
  return rows
}

test('docs/configuration.md names every key with its default, and no other', () => {
  const page = documented()
  for (const key of WITHOUT_DEFAULT) page.delete(key)
  expect(Object.fromEntries(page)).toEqual(Object.fromEntries(defaults()))
})

test('every value of the page is accepted as it stands there', () => {
  for (const [key, value] of documented()) {
    if (value === undefined) continue
    const [section, name] = key.split('.')
    const text = `[${section}]\n${name} = ${value}\n`
    expect(() => parseConfig([{ file: 'page', text }]), text).not.toThrow()
  }
})

test('docs/configuration.md names every dialect', () => {
  const [, bounds] = /^\| `dialect` \| .+? \| (.+?) \|/m.exec(PAGE) ?? []
  expect(bounds?.split(', ')).toEqual(DIALECT_NAMES.map((name) => `\`"${name}"\``))
})
