import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DatabaseSync } from 'node:sqlite'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { decodeLine } from '../../src/audit/chain.ts'
import { openSqlite } from '../../src/registrar-repository/sqlite-file.ts'
import { sqliteRepository } from '../../src/registrar-repository/sqlite-repository.ts'
import { SQLITE_MIGRATIONS } from '../../src/registrar-repository/sqlite-schema.ts'
import { scratchDirectory } from '../harness/scratch.ts'
import { enrolledRow, NOW_MS } from '../registrar/enrolled.ts'
import { repositoryContract } from './repository-contract.ts'

let stack: AsyncDisposableStack
let path: string
beforeEach(async () => {
  stack = new AsyncDisposableStack()
  path = join(stack.use(await scratchDirectory()).path, 'registrar.db')
})
afterEach(() => stack.disposeAsync())

function opened() {
  const repository = sqliteRepository(path)
  stack.defer(() => repository.close())
  return repository
}

repositoryContract('SQLite', async () => ({
  repository: opened(),
  reopened: async () => opened(),
}))

test('the file is for its owner alone, and of what is another user’s or a link nothing is opened', async () => {
  opened()
  for (const name of [path, `${path}-wal`]) expect((await stat(name)).mode & 0o777).toBe(0o600)
  const open = `${path}.open`
  await writeFile(open, '')
  await chmod(open, 0o644)
  expect(() => sqliteRepository(open)).toThrow(/DIRECTORY_UNSAFE|another|alone/)
  await symlink(path, `${path}.link`)
  expect(() => sqliteRepository(`${path}.link`)).toThrow(/alone/)
})

test('a file that is no database, and one of a later version, are refused as such', async () => {
  await writeFile(path, 'x'.repeat(4096), { mode: 0o600 })
  expect(() => sqliteRepository(path)).toThrow(
    expect.objectContaining({ code: 'REGISTRAR_DATABASE' }),
  )
  const later = `${path}.later`
  openSqlite(later, [...SQLITE_MIGRATIONS, 'CREATE TABLE more (a TEXT) STRICT']).close()
  expect(() => sqliteRepository(later)).toThrow(/later version/)
})

test('migrations run once each, in order, and one that fails leaves nothing behind', () => {
  const migrations = ['CREATE TABLE one (a TEXT)', 'ALTER TABLE one ADD b TEXT']
  openSqlite(path, migrations.slice(0, 1)).close()
  const broken = [...migrations.slice(0, 1), 'CREATE TABLE two (a TEXT); NONSENSE']
  expect(() => openSqlite(path, broken)).toThrow(
    expect.objectContaining({ code: 'REGISTRAR_DATABASE' }),
  )
  openSqlite(path, migrations).close()
  const database = openSqlite(path, migrations)
  expect(database.prepare('PRAGMA user_version').get()).toEqual({ user_version: 2 })
  expect(
    database.prepare("SELECT name FROM sqlite_schema WHERE name = 'two'").get(),
  ).toBeUndefined()
  database.prepare('INSERT INTO one (a, b) VALUES (?, ?)').run('a', 'b')
  database.close()
})

test.each(SQLITE_MIGRATIONS.map((_, at) => at + 1))(
  'from version %i on, with what it has, it comes to the present one',
  async (version) => {
    const shapeOf = (database: DatabaseSync) =>
      database.prepare('SELECT name, sql FROM sqlite_schema ORDER BY name').all()
    const older = openSqlite(path, SQLITE_MIGRATIONS.slice(0, version))
    const { iid, dialect, instanceId, ekName, akName, state } = enrolledRow()
    older
      .prepare('INSERT INTO instances VALUES (?, 1, ?, ?, ?, ?, ?, ?)')
      .run(iid, dialect, instanceId, ekName, akName, state, JSON.stringify(enrolledRow()))
    older.close()
    expect(await opened().instance(iid)).toEqual(enrolledRow())
    const [fresh, migrated] = [openSqlite(`${path}.fresh`), openSqlite(path)]
    expect(shapeOf(migrated)).toEqual(shapeOf(fresh))
    for (const database of [fresh, migrated]) database.close()
  },
)

test('a row of another form is a fault of the database, and no instance', async () => {
  const repository = opened()
  await repository.commit({ instances: [enrolledRow()], events: [] }, NOW_MS)
  const database = new DatabaseSync(path)
  database.prepare("UPDATE instances SET document = '{}'").run()
  database.close()
  await expect(repository.instance(enrolledRow().iid)).rejects.toMatchObject({
    code: 'REGISTRAR_DATABASE',
  })
})

test('a disk that is full fails a write as such, and nothing that was acknowledged is lost', async () => {
  const program = fileURLToPath(new URL('commit-without-end.ts', import.meta.url))
  // No file of the process may have more than a MiB.
  const limited = ['-c', 'ulimit -f 1024; trap "" XFSZ; exec "$0" "$@"', process.execPath]
  const child = spawn('bash', [...limited, program, path], { stdio: ['ignore', 'pipe', 'pipe'] })
  const closed = once(child, 'close')
  const [said, complained] = await Promise.all([text(child.stdout), text(child.stderr)])
  await closed
  expect(complained).toContain('REGISTRAR_DATABASE')
  const acknowledged = Number(said.trim().split('\n').at(-1))
  expect(acknowledged).toBeGreaterThan(10)
  const repository = opened()
  expect((await repository.instance(enrolledRow().iid))?.revision).toBe(acknowledged)
  expect(await repository.events(0, 100_000)).toHaveLength(acknowledged + 1)
})

test.each([3, 17, 40])(
  'killed in the midst of writes, after %i: what was acknowledged is there, and the chain is whole',
  async (acknowledgedMin) => {
    const program = fileURLToPath(new URL('commit-without-end.ts', import.meta.url))
    const child = spawn(process.execPath, [program, path], { stdio: ['ignore', 'pipe', 'inherit'] })
    const exited = once(child, 'exit')
    let acknowledged = 0
    for await (const line of createInterface(child.stdout)) {
      acknowledged = Number(line)
      if (acknowledged === acknowledgedMin) child.kill('SIGKILL')
    }
    await exited
    expect(acknowledged).toBeGreaterThanOrEqual(acknowledgedMin)

    const repository = opened()
    const row = await repository.instance(enrolledRow().iid)
    const lines = (await repository.events(0, 100_000)).map((text) => decodeLine(text))
    // One more may have been written that nobody was told of: together with its event, or not at all.
    expect(row?.revision).toBeGreaterThanOrEqual(acknowledged)
    expect(lines.length).toBe(1 + (row?.revision ?? 0))
    expect(lines.every((line, at) => line?.seq === at + 1)).toBe(true)
    expect(lines.every((line, at) => at === 0 || line?.prev === lines[at - 1]?.hash)).toBe(true)
    const database = new DatabaseSync(path)
    expect(database.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' })
    database.close()
    const next = enrolledRow({ revision: (row?.revision ?? 0) + 1 })
    expect(await repository.commit({ instances: [next], events: [] }, NOW_MS)).toBe(true)
  },
)
