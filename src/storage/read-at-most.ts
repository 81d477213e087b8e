import { closeSync, openSync, readSync } from 'node:fs'

/**
 * The beginning of what an open file gives: of a file of any size, of one of securityfs, which has no size,
 * or of a pipe, which gives it piece by piece.
 *
 * @returns at most `bytesMax` bytes. Who asks for one more than allowed sees what is too long.
 * @throws Error of node:fs
 */
export function readAtMost(descriptor: number, bytesMax: number): Buffer {
  const bytes = Buffer.alloc(bytesMax)
  let end = 0
  for (let read = -1; read !== 0 && end < bytesMax; end += read) {
    read = readSync(descriptor, bytes, end, bytesMax - end, null)
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
