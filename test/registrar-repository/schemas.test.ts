import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { POSTGRESQL_MIGRATIONS } from '../../src/registrar-repository/postgresql-schema.ts'
import { SQLITE_MIGRATIONS } from '../../src/registrar-repository/sqlite-schema.ts'

/** The schemas of both databases, which have the same versions. */

const PAGE = new URL('../../docs/fleet-postgresql.md', import.meta.url)
const TABLE = /CREATE TABLE (\w+) \(\n([\s\S]*?)\n {3}\)/g
const COLUMN = /^ +([a-z_]+) (?:TEXT|INTEGER|BIGINT|BLOB|BYTEA)/

/** Tables with their columns, as a migration makes them. */
function tablesOf(migration: string): Record<string, string[]> {
  return Object.fromEntries(
    [...migration.matchAll(TABLE)].map(([, name = '', body = '']) => [
      name,
      body.split('\n').flatMap((line) => COLUMN.exec(line)?.[1] ?? []),
    ]),
  )
}

test('each version makes the same tables and columns in both', () => {
  expect(POSTGRESQL_MIGRATIONS.map(tablesOf)).toEqual(SQLITE_MIGRATIONS.map(tablesOf))
  expect(tablesOf(SQLITE_MIGRATIONS[0] ?? '')).toMatchObject({ events: ['seq', 'hash', 'line'] })
})

test('the page lists all versions', () => {
  const rows = [...readFileSync(PAGE, 'utf8').matchAll(/^\| ([0-9]+) \| [0-9.]+ \|/gm)]
  expect(rows.map(([, version]) => Number(version))).toEqual(
    SQLITE_MIGRATIONS.map((_, at) => at + 1),
  )
})
