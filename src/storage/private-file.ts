import { randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { MetabindError, nodeErrorCode } from '../errors.ts'
import { readAtMost } from './read-at-most.ts'

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
    requirePrivate(path, descriptor, bytesMax)
    return readAtMost(descriptor, bytesMax)
  } finally {
    closeSync(descriptor)
  }
}

/** Puts `bytes` at `path`, mode 0600, whole or not at all, replacing what was there. */
export function writePrivateFile(path: string, bytes: Uint8Array): void {
  withTemporary(path, bytes, (temporary) => renameSync(temporary, path))
}

/** Like writePrivateFile, but only if there is no file yet. @returns whether there was none */
export function createPrivateFile(path: string, bytes: Uint8Array): boolean {
  let created = true
  withTemporary(path, bytes, (temporary) => {
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

function openExisting(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (nodeErrorCode(error) === 'ENOENT') return undefined
    const code = nodeErrorCode(error) === 'ELOOP' ? 'DIRECTORY_UNSAFE' : 'DIRECTORY_FAULT'
    throw new MetabindError(code, path, error)
  }
}

function requirePrivate(path: string, descriptor: number, bytesMax: number): void {
  const stat = fstatSync(descriptor)
  const unsafe = (why: string) => new MetabindError('DIRECTORY_UNSAFE', `${path}: ${why}.`)
  if (!stat.isFile()) throw unsafe('not a regular file')
  if (stat.uid !== process.getuid?.()) throw unsafe('another owner')
  if ((stat.mode & 0o077) !== 0) throw unsafe('accessible to others')
  if (stat.size > bytesMax) throw unsafe('too large')
}

function withTemporary(path: string, bytes: Uint8Array, place: (temporary: string) => void): void {
  const temporary = join(dirname(path), `.${randomBytes(8).toString('hex')}.new`)
  try {
    const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW
    const descriptor = openSync(temporary, flags, 0o600)
    try {
      // A short write is a full disk; the next attempt then says so.
      for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    place(temporary)
  } catch (error) {
    removeQuietly(temporary)
    throw new MetabindError('DIRECTORY_FAULT', path, error)
  }
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // It was never made, or is gone: either way nothing is left behind.
  }
}
