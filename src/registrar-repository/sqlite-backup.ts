import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { MetabindError, nodeErrorCode, pathWithReason } from '../errors.ts'
import { EVENTS_PLACE, verifyEvents } from './event-verdict.ts'
import { markRestored } from './restore-mark.ts'
import { requireOwn, SQLITE_BUSY, sqliteCode } from './sqlite-file.ts'
import { sqliteRepository } from './sqlite-repository.ts'

/** Copies of the embedded database, made while a registrar serves, and put in its place while none does. */

/**
 * Writes a consistent copy of the database, mode 0600, whole or not at all. What is secret in it is sealed under the
 * master key, which is not in there.
 *
 * @throws MetabindError FILE_UNUSABLE, also if there is a file already; REGISTRAR_DATABASE, DIRECTORY_UNSAFE
 */
export function backUp(database: string, file: string): void {
  if (!existsSync(database)) {
    throw new MetabindError('REGISTRAR_DATABASE', `${database}: none is there.`)
  }
  requireOwn(database)
  withTemporary(file, (temporary) => {
    closeSync(openSync(temporary, 'wx', 0o600))
    withDatabase(database, (opened) => opened.prepare('VACUUM INTO ?').run(temporary))
    sync(temporary)
    linkSync(temporary, file)
    sync(dirname(file))
  })
}

/**
 * Puts a copy in the place of the database, whose file stays beside it as `….before-restore`. Identity tokens that were
 * made before are good for no exchange any more.
 *
 * @throws MetabindError REGISTRAR_RUNNING; REGISTRAR_DATABASE if the copy is none, of a later version, or its events are
 *   no whole chain: then nothing was changed
 */
export async function restore(
  file: string,
  database: string,
  by: string,
  nowMs: number,
): Promise<void> {
  const temporary = temporaryBeside(database)
  try {
    copyFileSync(file, temporary, constants.COPYFILE_EXCL)
    chmodSync(temporary, 0o600)
    requireWhole(temporary)
    const repository = sqliteRepository(temporary)
    try {
      await requireChain(repository)
      await markRestored(repository, by, nowMs)
    } finally {
      await repository.close()
    }
    withDatabase(temporary, (opened) => opened.exec('DELETE FROM pending'))
    sync(temporary)
    withUnused(database, () => {
      setAside(database)
      renameSync(temporary, database)
      sync(dirname(database))
    })
  } catch (error) {
    throw error instanceof MetabindError ? error : unusable(error, file)
  } finally {
    for (const end of ['', '-wal', '-shm']) rmSync(`${temporary}${end}`, { force: true })
  }
}

function unusable(error: unknown, file: string): MetabindError {
  const code = nodeErrorCode(error)
  if (code === 'ERR_SQLITE_ERROR') return new MetabindError('REGISTRAR_DATABASE', file, error)
  // Not as the cause: it names the temporary file, of which nobody has heard.
  return new MetabindError('FILE_UNUSABLE', pathWithReason(file, error))
}

function requireWhole(path: string): void {
  withDatabase(path, (opened) => {
    const [row] = opened.prepare('PRAGMA integrity_check(1)').all()
    const said = String(row?.integrity_check)
    const version = Number(opened.prepare('PRAGMA user_version').get()?.user_version)
    if (said !== 'ok') throw new MetabindError('REGISTRAR_DATABASE', `Of the copy: ${said}`)
    if (version < 1) throw new MetabindError('REGISTRAR_DATABASE', 'The copy is of no registrar.')
  })
}

/** Also of the checkpoints that are in it: a copy that was cut by itself is none. */
async function requireChain(repository: ReturnType<typeof sqliteRepository>): Promise<void> {
  const { broken } = await verifyEvents(repository, { url: undefined, kept: [], kids: undefined })
  if (broken === undefined) return
  const { file, line, reason } = broken
  const what = file === EVENTS_PLACE ? 'Event' : 'Checkpoint'
  throw new MetabindError('REGISTRAR_DATABASE', `${what} ${line} of the copy: ${reason}.`)
}

/** Holds the old database, if it is one, so that no process opens it meanwhile. @throws MetabindError REGISTRAR_RUNNING */
function withUnused(path: string, act: () => void): void {
  if (!existsSync(path)) {
    act()
    return
  }
  const old = new DatabaseSync(path)
  try {
    // Each process that has it open shares a lock: nobody else can be there when the journal is left (WAL, 8).
    old.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE')
  } catch (error) {
    if (sqliteCode(error) === SQLITE_BUSY) throw new MetabindError('REGISTRAR_RUNNING', path)
    // It is broken: that may be why another one is wanted.
  }
  try {
    act()
  } finally {
    old.close()
  }
}

/** A journal that is left belongs to the old one: SQLite must not find it beside the new one. */
function setAside(path: string): void {
  for (const end of ['', '-wal', '-shm']) {
    const aside = `${path}.before-restore${end}`
    rmSync(aside, { force: true })
    if (!existsSync(`${path}${end}`)) continue
    // The database keeps its name until the new one takes it.
    if (end === '') linkSync(path, aside)
    else renameSync(`${path}${end}`, aside)
  }
}

function withDatabase<T>(path: string, act: (database: DatabaseSync) => T): T {
  const database = new DatabaseSync(path, { timeout: 5000 })
  try {
    return act(database)
  } finally {
    database.close()
  }
}

function withTemporary(file: string, act: (temporary: string) => void): void {
  const temporary = temporaryBeside(file)
  try {
    act(temporary)
  } catch (error) {
    throw error instanceof MetabindError ? error : unusable(error, file)
  } finally {
    rmSync(temporary, { force: true })
  }
}

function temporaryBeside(file: string): string {
  return join(dirname(file), `.${randomBytes(8).toString('hex')}.new`)
}

function sync(path: string): void {
  const descriptor = openSync(path, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
