import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readSync,
  type Stats,
  write,
} from 'node:fs'
import { promisify } from 'node:util'
import { MetabindError } from '../errors.ts'
import { type ChainHead, decodeLine, LINE_READ_BYTES_MAX } from './chain.ts'

const writeTo = promisify(write)

/** The open file that a chain is written to. */
export interface ChainFile {
  readonly descriptor: number
  /** Bytes of whole lines. */
  bytes: number
}

/**
 * Opens the file at a path, or makes it.
 *
 * @throws MetabindError DIRECTORY_UNSAFE if it is no file of the agent's alone, DIRECTORY_FAULT
 */
export function openChainFile(path: string): ChainFile {
  const { O_RDWR, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants
  let descriptor: number
  try {
    descriptor = openSync(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600)
  } catch (error) {
    throw new MetabindError('DIRECTORY_FAULT', path, error)
  }
  const stat = fstatSync(descriptor)
  const problem = unsafe(stat)
  if (problem === undefined) return { descriptor, bytes: stat.size }
  closeSync(descriptor)
  throw new MetabindError('DIRECTORY_UNSAFE', `${path}: ${problem}.`)
}

function unsafe(stat: Stats): string | undefined {
  if (!stat.isFile()) return 'not a regular file'
  if (stat.uid !== process.getuid?.()) return 'another owner'
  return (stat.mode & 0o077) === 0 ? undefined : 'accessible to others'
}

/** All of it or nothing: what part a full disk took is cut off again. */
export async function writeWhole(file: ChainFile, text: string): Promise<void> {
  const bytes = Buffer.from(text)
  try {
    for (let at = 0; at < bytes.length; ) {
      at += (await writeTo(file.descriptor, bytes, at, bytes.length - at)).bytesWritten
    }
    file.bytes += bytes.length
  } catch (error) {
    ftruncateSync(file.descriptor, file.bytes)
    throw error
  }
}

/** Whether the path now leads to another file, as after logrotate, or to none. */
export function wasMoved(path: string, { descriptor }: ChainFile): boolean {
  const own = fstatSync(descriptor)
  const there = lstatSync(path, { throwIfNoEntry: false })
  return there?.ino !== own.ino || there.dev !== own.dev
}

/**
 * Where a file of an earlier process ends. What follows the last line end was cut by a crash; it is
 * removed. `head` is undefined if the file is empty, or its last line is no record of a chain.
 */
export function endOfChain(file: ChainFile): { head: ChainHead | undefined; cutBytes: number } {
  const tail = readTail(file.descriptor, file.bytes)
  const end = tail.lastIndexOf('\n') + 1
  const cutBytes = tail.length - end
  if (cutBytes > 0) {
    file.bytes -= cutBytes
    ftruncateSync(file.descriptor, file.bytes)
  }
  const start = end < 2 ? 0 : tail.lastIndexOf('\n', end - 2) + 1
  return { head: decodeLine(tail.toString('latin1', start, Math.max(start, end - 1))), cutBytes }
}

/** The end of a file: more than a batch of records, which is what a kept end can be behind by. @param bytes how long the file is */
export function readTail(descriptor: number, bytes: number): Buffer {
  const tail = Buffer.alloc(Math.min(bytes, 2 * LINE_READ_BYTES_MAX))
  readSync(descriptor, tail, 0, tail.length, bytes - tail.length)
  return tail
}
