import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cachedXz, joinXz, xz } from './xz.ts'

/** How a DEB is compressed. */
export interface DebCompression {
  /** 0 (quick) to 9, of xz */
  readonly level: number
  /** A folder that keeps the compressed runtime for the next build, undefined to compress everything anew. */
  readonly cache: string | undefined
}

const BYTES_MAX = 1 << 28

/**
 * Compresses an uncompressed DEB. The runtime, nearly all of it, is compressed by itself: its bytes are the same
 * from one build to the next, while those around it have the time of the sources.
 *
 * @param plain a file from `dpkg-deb -Znone`
 * @param runtime the name of the runtime in the package, like `./usr/bin/x`
 * @param work a folder for the parts
 */
export function compressDeb(
  plain: string,
  runtime: string,
  work: string,
  output: string,
  { level, cache }: DebCompression,
): void {
  const data = dpkgDeb('--fsys-tarfile', plain)
  const [begin, end] = placeOf(runtime, data)
  const middle = data.subarray(begin, end)
  const parts = {
    'debian-binary': Buffer.from('2.0\n'),
    'control.tar.xz': xz(dpkgDeb('--ctrl-tarfile', plain), level),
    'data.tar.xz': joinXz([
      xz(data.subarray(0, begin), level),
      cache === undefined ? xz(middle, level) : cachedXz(middle, level, cache),
      xz(data.subarray(end), level),
    ]),
  }
  for (const [name, bytes] of Object.entries(parts)) writeFileSync(join(work, name), bytes)
  rmSync(output, { force: true })
  // D: without times and owners.
  execFileSync('ar', ['rcD', output, ...Object.keys(parts)], { cwd: work })
}

function dpkgDeb(option: string, file: string): Buffer {
  return execFileSync('dpkg-deb', [option, file], { maxBuffer: BYTES_MAX })
}

const TAR_BLOCK_BYTES = 512

/** Where the contents of a file begin and end in an archive of tar. */
function placeOf(name: string, tar: Buffer): [number, number] {
  const field = (at: number, bytes: number) =>
    tar.toString('latin1', at, at + bytes).replace(/\0.*$/s, '')
  for (let at = 0; at < tar.length; ) {
    const begin = at + TAR_BLOCK_BYTES
    const bytes = Number.parseInt(field(at + 124, 12), 8) || 0
    if (field(at, 100) === name) return [begin, begin + bytes]
    at = begin + Math.ceil(bytes / TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES
  }
  throw new Error(`${name} is not in the archive`)
}
