import { DatabaseSync } from 'node:sqlite'
import { MetabindError } from '../errors.ts'
import { statOf, unusable } from './files.ts'

/** For how long another verification of the same instance is waited for. */
const WAIT_MS_MAX = 30_000

/**
 * Holds the record of an instance for this process alone, from before it is read until it is written: of two that read
 * the same one, the later word would be lost, and with it what it knows of a copy.
 *
 * The lock is one of the kernel on `FILE.lock`, which ends with the process, however that ends; the file that stays is
 * empty, and holds nobody up. Node has no call for locks but through SQLite, which writes nothing into it.
 *
 * @param waitMs at most; others in tests
 * @throws MetabindError FILE_UNUSABLE, also if another process has it for so long
 */
export function withRecord<T>(file: string | undefined, act: () => T, waitMs = WAIT_MS_MAX): T {
  if (file === undefined) return act()
  const lock = lockedAt(`${file}.lock`, waitMs)
  try {
    return act()
  } finally {
    lock.close()
  }
}

function lockedAt(path: string, waitMs: number): DatabaseSync {
  const stat = statOf(path)
  if (stat !== undefined && (!stat.isFile() || stat.size > 0)) {
    throw new MetabindError('FILE_UNUSABLE', `${path}: it is no lock of a record.`)
  }
  let opened: DatabaseSync | undefined
  try {
    opened = new DatabaseSync(path, { timeout: waitMs })
    opened.exec('BEGIN EXCLUSIVE')
    return opened
  } catch (error) {
    opened?.close()
    throw unusable(path, error)
  }
}
