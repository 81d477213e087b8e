import { randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  fsyncSync,
  openSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'

/** Of what a killed process had written before it could give it its name. */
export const TEMPORARY_NAME = /^\.[0-9a-f]{16}\.new$/

/**
 * Writes a file beside its place, makes it durable and then puts it there: it is there whole or not at all.
 *
 * @param mode the process's umask is taken from it
 * @param place puts it there; as a rule it replaces what is there
 * @throws Error of node:fs, and nothing is left behind
 */
export function writeWholeFile(
  path: string,
  bytes: Uint8Array,
  mode: number,
  place = (temporary: string): void => renameSync(temporary, path),
): void {
  const temporary = join(dirname(path), `.${randomBytes(8).toString('hex')}.new`)
  try {
    writeDurably(temporary, bytes, mode)
    place(temporary)
  } catch (error) {
    removeQuietly(temporary)
    throw error
  }
}

function writeDurably(path: string, bytes: Uint8Array, mode: number): void {
  const flags = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW
  const descriptor = openSync(path, flags, mode)
  try {
    // A short write is a full disk; the next attempt then says so.
    for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // It was never made, or is gone: either way nothing is left behind.
  }
}
