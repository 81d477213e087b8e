import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { WITHOUT_FILE } from '../adversary/without-file.ts'

/** Each row of SECURITY.md's table of threats has a file of its name in test/adversary/, and each file a row. */

const ROOT = new URL('../../', import.meta.url)
const FILES = new URL('test/adversary/', ROOT)
const END = '.test.ts'

const rows = readFileSync(new URL('SECURITY.md', ROOT), 'utf8')
  .split('| Name | Threat | Defence | Test |\n')[1]
  ?.split('\n\n')[0]
  ?.split('\n')
  .slice(1)
const names = rows?.map((row) => /^\| `([a-z0-9]+(?:-[a-z0-9]+)*)` \|/.exec(row)?.[1]) ?? []
const files = readdirSync(FILES)
  .filter((file) => file.endsWith(END))
  .map((file) => file.slice(0, -END.length))

test('every row has a name of its own', () => {
  expect(names.length).toBeGreaterThan(90)
  expect(rows?.filter((_, at) => names[at] === undefined)).toEqual([])
  expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([])
})

test('every row has a file, or a reason why it has none, and every file a row', () => {
  const without = Object.keys(WITHOUT_FILE)
  expect([...files, ...without].toSorted()).toEqual(names.toSorted())
})

test('what stands in for a file is there', () => {
  const standIns = Object.values(WITHOUT_FILE).map(([, file]) => file)
  expect(standIns.filter((file) => !existsSync(new URL(file, ROOT)))).toEqual([])
})

test.each(files)('%s begins with the steps of the attacker', (name) => {
  const text = readFileSync(new URL(`${name}${END}`, FILES), 'utf8')
  expect(text).toMatch(/^\/\*\*\n(?: \* .+\n)+ \*\/\n/)
})
