import { closeSync, constants, fstatSync, lstatSync, openSync, type Stats, statSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { MetabindError, pathWithReason } from '../errors.ts'
import { readAtMost } from '../storage/read-at-most.ts'
import { writeWholeFile } from '../storage/whole-file.ts'

/** Writes a file that holds a secret, for its owner only. @throws MetabindError FILE_UNUSABLE */
export function writeSecretFile(path: string, content: string): void {
  replaceFile(path, content, 0o600)
}

/** Writes a file that is not secret; one that is there keeps its mode. @throws MetabindError FILE_UNUSABLE */
export function writeFile(path: string, content: string | Buffer): void {
  replaceFile(path, content, (statOf(path)?.mode ?? 0o644) & 0o777)
}

/**
 * Writes a file whole or not at all. What is at `path` is replaced only if it is a regular file; a
 * symbolic link is neither followed nor replaced, whoever has planted it.
 */
function replaceFile(path: string, content: string | Buffer, mode: number): void {
  const stat = statOf(path)
  if (stat !== undefined && !stat.isFile()) throw otherKind(path, stat)
  try {
    writeWholeFile(path, Buffer.from(content), mode)
  } catch (error) {
    throw unusable(path, error)
  }
}

/**
 * Reads a small file, a pipe that a shell made with `<(COMMAND)`, or standard input if the name is `-`. Links,
 * devices and pipes with a name are refused.
 *
 * @returns at most `bytesMax` bytes and one: then it is too long
 * @throws MetabindError FILE_UNUSABLE
 */
export async function readSmallFile(path: string, bytesMax: number): Promise<string> {
  if (path === '-') return (await text(process.stdin)).slice(0, bytesMax + 1)
  const descriptor = openReadable(path)
  try {
    return readAtMost(descriptor, bytesMax + 1).toString('utf8')
  } finally {
    closeSync(descriptor)
  }
}

const GROUP_OR_OTHERS = 0o077

/**
 * Reads a small file that holds a secret: one that only its owner may use, who is this user or root; or a pipe.
 *
 * @throws MetabindError FILE_UNUSABLE
 */
export function readSecretFile(path: string, bytesMax: number): string {
  const descriptor = openReadable(path)
  try {
    const stat = fstatSync(descriptor)
    if (stat.isFile()) requireSecret(path, stat)
    const bytes = readAtMost(descriptor, bytesMax + 1)
    if (bytes.length > bytesMax) throw new MetabindError('FILE_UNUSABLE', `${path} is too long.`)
    return bytes.toString('utf8')
  } finally {
    closeSync(descriptor)
  }
}

function requireSecret(path: string, { mode, uid }: Stats): void {
  if ((mode & GROUP_OR_OTHERS) !== 0) {
    const others = 'it holds a secret, and others may use it; try chmod 600'
    throw new MetabindError('FILE_UNUSABLE', `${path}: ${others}.`)
  }
  if (uid !== 0 && uid !== process.getuid?.()) {
    throw new MetabindError('FILE_UNUSABLE', `${path}: it belongs to another user.`)
  }
}

const UNFOLLOWED = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/**
 * Opens a regular file, or a pipe that this process was given. One with a name is refused: somebody may have put
 * it in the place of a file, and it would be waited for.
 *
 * @throws MetabindError FILE_UNUSABLE
 */
export function openReadable(path: string): number {
  // Not blocking, a pipe into which nobody has written yet would be empty.
  if (isPipe(path)) return openAs(path, constants.O_RDONLY, (stat) => stat.isFIFO())
  return openAs(path, UNFOLLOWED, (stat) => stat.isFile())
}

function openAs(path: string, flags: number, fits: (stat: Stats) => boolean): number {
  let descriptor: number
  try {
    descriptor = openSync(path, flags)
  } catch (error) {
    throw unusable(path, error)
  }
  const stat = fstatSync(descriptor)
  if (fits(stat)) return descriptor
  closeSync(descriptor)
  throw otherKind(path, stat)
}

const OWN_DESCRIPTOR = /^\/(?:dev|proc\/self)\/fd\/[0-9]+$/

/**
 * Whether a name is that of a pipe which this process was given, as by `<(COMMAND)` in a shell. Such a name is a
 * link of the kernel's, which nobody plants.
 */
export function isPipe(path: string): boolean {
  return OWN_DESCRIPTOR.test(path) && (statSync(path, { throwIfNoEntry: false })?.isFIFO() ?? false)
}

/** FILE_UNUSABLE, with why. */
export function unusable(path: string, error: unknown): MetabindError {
  return new MetabindError('FILE_UNUSABLE', pathWithReason(path, error), error)
}

/**
 * What stands at a path, a link not followed; undefined only if nothing does.
 *
 * @throws MetabindError FILE_UNUSABLE, also if it cannot be told
 */
export function statOf(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false })
  } catch (error) {
    throw unusable(path, error)
  }
}

function otherKind(path: string, stat: Stats): MetabindError {
  const kind = stat.isDirectory()
    ? 'a directory'
    : stat.isSymbolicLink()
      ? 'a symbolic link'
      : 'not a regular file'
  return new MetabindError('FILE_UNUSABLE', `${path}: it is ${kind}.`)
}
