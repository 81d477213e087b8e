import {
  closeSync,
  constants,
  fstatSync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  unlinkSync,
} from 'node:fs'
import { join } from 'node:path'
import { MetabindError, nodeErrorCode } from '../errors.ts'
import { readAtMost } from './read-at-most.ts'
import { TEMPORARY_NAME, writeWholeFile } from './whole-file.ts'

/**
 * Reads a file that belongs to the agent alone.
 *
 * @returns its bytes, or undefined if there is none
 * @throws MetabindError DIRECTORY_UNSAFE if it is a link, not a file, of another owner, readable
 *   by others or larger than `bytesMax`; DIRECTORY_FAULT if it cannot be read
 */
export function readPrivateFile(path: string, bytesMax: number): Buffer | undefined {
  const descriptor = openExisting(path)
  if (descriptor === undefined) return undefined
  try {
    // It is replaced, never written to: its size stays. Room for the largest would cost a start megabytes.
    return readAtMost(descriptor, requirePrivate(path, descriptor, bytesMax))
  } finally {
    closeSync(descriptor)
  }
}

/** Puts `bytes` at `path`, mode 0600, whole or not at all, replacing what was there. */
export function writePrivateFile(path: string, bytes: Uint8Array): void {
  writePrivate(path, bytes)
}

/** Like writePrivateFile, but only if there is no file yet. @returns whether there was none */
export function createPrivateFile(path: string, bytes: Uint8Array): boolean {
  let created = true
  writePrivate(path, bytes, (temporary) => {
    try {
      linkSync(temporary, path)
    } catch (error) {
      if (nodeErrorCode(error) !== 'EEXIST') throw error
      created = false
    }
    unlinkSync(temporary)
  })
  return created
}

/**
 * Removes what a process that was killed had written before it could give it its name: nobody would ever
 * read it, and it may hold a salt. Only for who is alone in the directory. What cannot be removed now is
 * left to the next.
 */
export function removeUnnamed(directory: string): void {
  try {
    for (const name of readdirSync(directory)) {
      const path = join(directory, name)
      if (TEMPORARY_NAME.test(name) && lstatSync(path).isFile()) unlinkSync(path)
    }
  } catch {
    // Whoever needs the directory says what is wrong with it.
  }
}

function openExisting(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (nodeErrorCode(error) === 'ENOENT') return undefined
    const code = nodeErrorCode(error) === 'ELOOP' ? 'DIRECTORY_UNSAFE' : 'DIRECTORY_FAULT'
    throw new MetabindError(code, path, error)
  }
}

/** @returns its size in bytes */
function requirePrivate(path: string, descriptor: number, bytesMax: number): number {
  const stat = fstatSync(descriptor)
  const unsafe = (why: string) => new MetabindError('DIRECTORY_UNSAFE', `${path}: ${why}.`)
  if (!stat.isFile()) throw unsafe('not a regular file')
  if (stat.uid !== process.getuid?.()) throw unsafe('another owner')
  if ((stat.mode & 0o077) !== 0) throw unsafe('accessible to others')
  if (stat.size > bytesMax) throw unsafe('too large')
  return stat.size
}

function writePrivate(path: string, bytes: Uint8Array, place?: (temporary: string) => void): void {
  try {
    writeWholeFile(path, bytes, 0o600, place)
  } catch (error) {
    throw new MetabindError('DIRECTORY_FAULT', path, error)
  }
}
