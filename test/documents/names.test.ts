import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

/** A name that is exported says what the thing is without its folder: no two things have the same one. */

const SOURCES = fileURLToPath(new URL('../../src/', import.meta.url))

/** Names that two things share, and why they may. */
const SHARED: Readonly<Record<string, string>> = {
  explain: 'the verb of the command line, and what the agent answers it with',
}

const FILES = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.ts'),
)
// Re-exports in braces name what is exported elsewhere.
const DECLARED =
  /^export (?:async )?(?:function\*?|const|let|(?:abstract )?class|interface|type|enum) (\w+)/gm

function exportsOf(file: string): string[] {
  const text = readFileSync(join(SOURCES, file), 'utf8')
  // A type and a value of one name are one thing, made by one declaration each.
  return [...new Set([...text.matchAll(DECLARED)].map(([, name = '']) => name))]
}

const PLACES = Map.groupBy(
  FILES.flatMap((file) => exportsOf(file).map((name) => ({ name, file }))),
  ({ name }) => name,
)

test('no two exported things have one name', () => {
  const shared = [...PLACES].filter(([name, places]) => places.length > 1 && !(name in SHARED))
  expect(shared.map(([name, places]) => `${name}: ${places.map(({ file }) => file)}`)).toEqual([])
})

test('every shared name is shared', () => {
  expect(Object.keys(SHARED).filter((name) => (PLACES.get(name)?.length ?? 0) < 2)).toEqual([])
})

test('nothing is exported but by name', () => {
  const others = FILES.filter((file) =>
    /^export (default|\*)/m.test(readFileSync(join(SOURCES, file), 'utf8')),
  )
  expect(others).toEqual([])
})
