import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { pathToFileURL } from 'node:url'
import { MetabindError } from '../errors.ts'
import { type DatabaseState, SIGNING_KEYS_SINCE } from './database-state.ts'
import { storedKeyOf } from './repository-rows.ts'
import { requireOwn } from './sqlite-file.ts'

/**
 * What is in the database at a path, which is not changed, and neither is anything beside it.
 *
 * @returns undefined if there is none
 * @throws MetabindError REGISTRAR_DATABASE, DIRECTORY_UNSAFE
 */
export function sqliteState(path: string): DatabaseState | undefined {
  if (!existsSync(path)) return undefined
  requireOwn(path)
  const url = pathToFileURL(path)
  // Even who only reads makes files of a journal, unless told that nobody writes. If there is one, somebody may.
  if (!existsSync(`${path}-wal`)) url.searchParams.set('immutable', '1')
  try {
    const database = new DatabaseSync(url, { readOnly: true, timeout: 5000 })
    try {
      return stateIn(database)
    } finally {
      database.close()
    }
  } catch (error) {
    throw new MetabindError('REGISTRAR_DATABASE', path, error)
  }
}

function stateIn(database: DatabaseSync): DatabaseState {
  const version = Number(database.prepare('PRAGMA user_version').get()?.user_version)
  if (version < SIGNING_KEYS_SINCE) return { version, keys: [] }
  return { version, keys: database.prepare('SELECT * FROM signing_keys').all().map(storedKeyOf) }
}
