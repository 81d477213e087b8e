import { lstatSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { MetabindError, nodeErrorCode } from '../errors.ts'
import { createPrivateFile } from '../storage/private-file.ts'
import { SQLITE_MIGRATIONS } from './sqlite-schema.ts'

/** How long a write waits for that of another process, such as of an administrator's command. */
const BUSY_MS_MAX = 5000

/**
 * Opens the database at a path, or makes it, and brings it to the present schema. Whatever a transaction wrote is on
 * the disk when it has ended (`synchronous=FULL`).
 *
 * @param migrations those of this version; fewer of them in tests
 * @throws MetabindError REGISTRAR_DATABASE, DIRECTORY_FAULT
 */
export function openSqlite(
  path: string,
  migrations: readonly string[] = SQLITE_MIGRATIONS,
): DatabaseSync {
  // With the mode of the database SQLite makes its journal, too.
  createPrivateFile(path, new Uint8Array())
  requireOwn(path)
  try {
    const database = new DatabaseSync(path, { timeout: BUSY_MS_MAX })
    database.exec(
      'PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF',
    )
    migrate(database, migrations)
    return database
  } catch (error) {
    if (error instanceof MetabindError) throw error
    throw new MetabindError('REGISTRAR_DATABASE', path, error)
  }
}

/** @throws MetabindError DIRECTORY_UNSAFE unless it is a file of this user, for nobody else */
export function requireOwn(path: string): void {
  const stat = lstatSync(path)
  const isOwn = stat.isFile() && stat.uid === process.getuid?.() && (stat.mode & 0o077) === 0
  if (!isOwn) throw new MetabindError('DIRECTORY_UNSAFE', `${path}: not this user's file alone.`)
}

/** SQLITE_BUSY of sqlite3.h. */
export const SQLITE_BUSY = 5

/** The primary code of SQLite that an error is of, if it is. */
export function sqliteCode(error: unknown): number | undefined {
  const isOfSqlite = nodeErrorCode(error) === 'ERR_SQLITE_ERROR' && error instanceof Error
  return isOfSqlite && 'errcode' in error ? Number(error.errcode) & 0xff : undefined
}

/** Runs what has not been run. Two processes that start together do it one after the other. */
function migrate(database: DatabaseSync, migrations: readonly string[]): void {
  inTransaction(database, () => {
    const done = Number(database.prepare('PRAGMA user_version').get()?.user_version)
    if (done > migrations.length) {
      throw new MetabindError('REGISTRAR_DATABASE', 'It was written by a later version.')
    }
    for (const migration of migrations.slice(done)) database.exec(migration)
    database.exec(`PRAGMA user_version = ${migrations.length}`)
  })
}

/**
 * All of it or nothing. The write lock is taken at the beginning, so that what is read stays so.
 *
 * @throws what `act` throws; MetabindError REGISTRAR_DATABASE if SQLite could not do it, as of a full disk
 */
export function inTransaction<T>(database: DatabaseSync, act: () => T): T {
  try {
    database.exec('BEGIN IMMEDIATE')
    const result = act()
    database.exec('COMMIT')
    return result
  } catch (error) {
    // A failed COMMIT may have ended it already.
    if (database.isTransaction) database.exec('ROLLBACK')
    if (nodeErrorCode(error) !== 'ERR_SQLITE_ERROR') throw error
    throw new MetabindError('REGISTRAR_DATABASE', undefined, error)
  }
}

/** A statement of a database, compiled the first time that it is asked for. */
export type Prepare = (sql: string) => StatementSync

export function preparedOnce(database: DatabaseSync): Prepare {
  const statements = new Map<string, StatementSync>()
  return (sql) => {
    const known = statements.get(sql)
    if (known !== undefined) return known
    const prepared = database.prepare(sql)
    statements.set(sql, prepared)
    return prepared
  }
}
