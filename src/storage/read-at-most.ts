import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'

/**
 * The beginning of what an open file gives: of a file of any size, of one of securityfs, which has no size,
 * or of a pipe, which gives it piece by piece.
 *
 * @param from where it begins, of a file that can be read anew; from where it stands if undefined
 * @returns at most `bytesMax` bytes. Who asks for one more than allowed sees what is too long.
 * @throws Error of node:fs
 */
export function readAtMost(descriptor: number, bytesMax: number, from?: number): Buffer {
  const bytes = Buffer.alloc(bytesMax)
  let end = 0
  for (let read = -1; read !== 0 && end < bytesMax; end += read) {
    const position = from === undefined ? null : from + end
    read = readSync(descriptor, bytes, end, bytesMax - end, position)
  }
  return bytes.subarray(0, end)
}

/** Like readAtMost, of the file at a path. */
export function readFileAtMost(path: string, bytesMax: number): Buffer {
  const descriptor = openSync(path, 'r')
  try {
    return readAtMost(descriptor, bytesMax)
  } finally {
    closeSync(descriptor)
  }
}

/**
 * The same for who cannot wait: a pipe that nobody writes to would hold it up for ever.
 *
 * @throws Error also if it is no regular file
 */
export function readRegularFileAtMost(path: string, bytesMax: number): Buffer {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    if (!fstatSync(descriptor).isFile()) throw new Error('not a regular file')
    return readAtMost(descriptor, bytesMax)
  } finally {
    closeSync(descriptor)
  }
}
