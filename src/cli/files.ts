import { randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { MetabindError, nodeErrorCode } from '../errors.ts'
import { readAtMost } from '../storage/read-at-most.ts'

/** Writes a file that holds a secret, for its owner only. @throws MetabindError FILE_UNUSABLE */
export function writeSecretFile(path: string, content: string): void {
  replaceFile(path, content, 0o600)
}

/** Writes a file that is not secret. @throws MetabindError FILE_UNUSABLE */
export function writeFile(path: string, content: string | Buffer): void {
  replaceFile(path, content, 0o644)
}

/**
 * Writes a file whole or not at all. What is at `path` is replaced only if it is a regular file; a
 * symbolic link is neither followed nor replaced, whoever has planted it.
 */
function replaceFile(path: string, content: string | Buffer, mode: number): void {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat !== undefined && !stat.isFile()) {
    throw new MetabindError('FILE_UNUSABLE', `${path} is not a regular file.`)
  }
  const temporary = join(dirname(path), `.metabind-${randomBytes(8).toString('hex')}`)
  try {
    writeFileSync(temporary, content, { flag: 'wx', mode, flush: true })
    renameSync(temporary, path)
  } catch (error) {
    removeQuietly(temporary)
    throw unusable(path, error)
  }
}

/** Reads a small file, or standard input if the name is `-`. Links, pipes and devices are refused. */
export async function readSmallFile(path: string, bytesMax: number): Promise<string> {
  if (path === '-') return (await text(process.stdin)).slice(0, bytesMax + 1)
  let descriptor: number
  try {
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW)
  } catch (error) {
    throw unusable(path, error)
  }
  try {
    if (!fstatSync(descriptor).isFile()) {
      throw new MetabindError('FILE_UNUSABLE', `${path} is not a regular file.`)
    }
    return readAtMost(descriptor, bytesMax + 1).toString('utf8')
  } finally {
    closeSync(descriptor)
  }
}

/** FILE_UNUSABLE, with the name of the system's error. */
export function unusable(path: string, error: unknown): MetabindError {
  const errno = nodeErrorCode(error)
  const detail = errno === undefined ? path : `${path} (${errno})`
  return new MetabindError('FILE_UNUSABLE', detail, error)
}

function removeQuietly(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // It was never made: nothing is left behind.
  }
}
