import { readdirSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import manifest from '../../package.json' with { type: 'json' }
import { EVENTS } from '../../src/audit/audit.ts'
import { REGISTRAR_EVENTS } from '../../src/registrar-repository/registrar-events.ts'

/** Tables of the documents that list what is elsewhere in the project list all of it, and no more. */

const ROOT = new URL('../../', import.meta.url)
const textOf = (page: string) => readFileSync(new URL(page, ROOT), 'utf8')

/** The cells of the rows of a table, given the row of its heads. */
function table(page: string, head: string): string[][] {
  const [, after = ''] = textOf(page).split(`${head}\n`)
  const [body = ''] = after.split('\n\n')
  return body
    .split('\n')
    .slice(1)
    .map((row) =>
      row
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
}

test('docs/audit.md lists every event with its verdict', () => {
  const listed = new Map<string, string>()
  for (const [names = '', , verdicts = ''] of table(
    'docs/audit.md',
    '| Event | When | Verdict |',
  )) {
    const verdict = verdicts.split(', ')
    const events = names.split(', ').map((name) => name.replaceAll('`', ''))
    for (const [at, event] of events.entries()) {
      listed.set(event, verdict[at] ?? verdict[0] ?? '')
    }
  }
  // Has a paragraph of its own, with what is signed.
  expect(textOf('docs/audit.md')).toContain('`chain.checkpoint`')
  const { 'chain.checkpoint': _, ...events } = EVENTS
  const verdicts = Object.entries(events).map(([event, [verdict]]) => [event, verdict])
  expect(Object.fromEntries(listed)).toEqual(Object.fromEntries(verdicts))
})

test('docs/fleet-events.md lists every event of the registrar with its members, and says what each member is', () => {
  const words = (cell = '') => cell.replaceAll('`', '').split(', ')
  const rows = table('docs/fleet-events.md', '| Event | When | Members |')
  const listed = rows.map(([event, , members]) => [words(event).join(), words(members).toSorted()])
  const made = Object.entries(REGISTRAR_EVENTS).map(([event, members]) => [
    event,
    members.toSorted(),
  ])
  expect(Object.fromEntries(listed)).toEqual(Object.fromEntries(made))
  const named = table('docs/fleet-events.md', '| Member | |').flatMap(([member]) => words(member))
  const ofAll = ['seq', 'prev', 'hash', 'time', 'event']
  const used = new Set([...ofAll, ...Object.values(REGISTRAR_EVENTS).flat()])
  expect(named.toSorted()).toEqual([...used].toSorted())
})

test('docs/limits.md and docs/configuration.md say the same of each limit', () => {
  const [, section = ''] = textOf('docs/configuration.md').split('\n## limits\n')
  const numbers = (row: readonly string[]) =>
    row.slice(0, 3).map((cell) => cell.replaceAll('`', ''))
  const configured = [...section.matchAll(/^\| (`\w+`) \| (.+?) \| (.+?) \|/gm)]
  const limits = table('docs/limits.md', '| Key | Default | Bounds | What it bounds |')
  expect(new Set(limits.map(numbers).map(String))).toEqual(
    new Set(
      configured.filter(([, key]) => key !== '`level`').map(([, ...row]) => String(numbers(row))),
    ),
  )
})

test('ARCHITECTURE.md lists every file and folder of src/', () => {
  const [, layout = ''] = textOf('ARCHITECTURE.md').split('```\nsrc/\n')
  const listed = [...layout.matchAll(/^ {2}([\w.-]+)\/? {2,}/gm)].map(([, name]) => name)
  expect(listed.toSorted()).toEqual(readdirSync(new URL('src/', ROOT)).toSorted())
})

test('ARCHITECTURE.md has a reason for every dependency', () => {
  const named = table('ARCHITECTURE.md', '| Package | For | Because |').flatMap(([names = '']) =>
    names.split(', '),
  )
  const { dependencies, optionalDependencies } = manifest
  const ours = ['tpm2-js', 'metabind-linux', 'metabind-pkcs11']
  const needed = Object.keys({ ...dependencies, ...optionalDependencies, esbuild: '' })
  expect(named.toSorted()).toEqual(needed.filter((name) => !ours.includes(name)).toSorted())
})
