import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'

/** xz, and its file format as far as it takes to put compressed pieces together (xz-file-format.txt). */

// The encoder of more than one thread cuts its input into blocks, the same ones with any number of threads.
const THREADS = '--threads=2'
// Two architectures at two levels, before and after a change of Node.
const CACHED_MAX = 8
const BYTES_MAX = 1 << 28

/** @param level 0 (quick) to 9 */
export function xz(bytes: Buffer, level: number): Buffer {
  const args = [`-${level}`, THREADS, '--stdout']
  return execFileSync('xz', args, { input: bytes, maxBuffer: BYTES_MAX })
}

/**
 * As `xz`, but what was compressed before is taken from `cache`, a folder of which the newest files are kept.
 * A file there is of use only if it gives the same bytes when it is unpacked.
 */
export function cachedXz(bytes: Buffer, level: number, cache: string): Buffer {
  mkdirSync(cache, { recursive: true })
  const program = execFileSync('xz', ['--version'], { encoding: 'utf8' })
  const hash = createHash('sha256').update(`${program}-${level} ${THREADS}\n`).update(bytes)
  const file = join(cache, `${hash.digest('hex')}.xz`)
  if (existsSync(file)) {
    const compressed = readFileSync(file)
    if (unpacked(compressed)?.equals(bytes)) {
      utimesSync(file, new Date(), new Date())
      return compressed
    }
  }
  const compressed = xz(bytes, level)
  // Another build may be reading the folder.
  const unfinished = `${file}.${process.pid}`
  writeFileSync(unfinished, compressed)
  renameSync(unfinished, file)
  removeOldest(cache)
  return compressed
}

function unpacked(compressed: Buffer): Buffer | undefined {
  try {
    const args = ['--decompress', '--stdout']
    return execFileSync('xz', args, { input: compressed, maxBuffer: BYTES_MAX, stdio: 'pipe' })
  } catch {
    return undefined
  }
}

function removeOldest(cache: string): void {
  const files = readdirSync(cache).map((name) => join(cache, name))
  const byAge = files
    .map((file) => ({ file, age: -statSync(file).mtimeMs }))
    .sort((one, other) => one.age - other.age)
  for (const { file } of byAge.slice(CACHED_MAX)) rmSync(file)
}

const HEADER_BYTES = 12
const FOOTER_BYTES = 12

/**
 * Makes one stream of the blocks of several, which unpacks to what they unpack to, one after the other.
 * Streams behind each other would do for xz, but dpkg unpacks only the first.
 *
 * @param streams from `xz` or `cachedXz`
 */
export function joinXz(streams: readonly Buffer[]): Buffer {
  const parts = streams.map(readStream)
  const [first] = parts
  if (first === undefined) throw new Error('nothing to join')
  if (parts.some(({ header }) => !header.equals(first.header))) {
    throw new Error('the streams have different flags')
  }
  const records = parts.reduce((sum, { count }) => sum + count, 0)
  const index = paddedToFour(
    Buffer.concat([Buffer.of(0), encoded(records), ...parts.map((part) => part.records)]),
  )
  const backwards = Buffer.alloc(6)
  backwards.writeUInt32LE((index.length + 4) / 4 - 1)
  first.header.copy(backwards, 4, 6, 8)
  return Buffer.concat([
    first.header,
    ...parts.map(({ blocks }) => blocks),
    index,
    checksum(index),
    checksum(backwards),
    backwards,
    Buffer.from('YZ'),
  ])
}

function readStream(stream: Buffer) {
  const indexBytes = (stream.readUInt32LE(stream.length - 8) + 1) * 4
  const indexAt = stream.length - FOOTER_BYTES - indexBytes
  // The first byte says that it is the index.
  const [count, recordsAt] = decoded(stream, indexAt + 1)
  let end = recordsAt
  for (let number = 0; number < count * 2; number += 1) [, end] = decoded(stream, end)
  return {
    header: stream.subarray(0, HEADER_BYTES),
    blocks: stream.subarray(HEADER_BYTES, indexAt),
    count,
    records: stream.subarray(recordsAt, end),
  }
}

/** A number in groups of seven bits, the lowest first. @returns it, and where the next one begins */
function decoded(bytes: Buffer, begin: number): [number, number] {
  let value = 0
  for (let at = begin; ; at += 1) {
    const byte = bytes.readUInt8(at)
    value += (byte & 0x7f) * 2 ** (7 * (at - begin))
    if (byte < 0x80) return [value, at + 1]
  }
}

function encoded(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80)
  return Buffer.from([...bytes, rest])
}

function paddedToFour(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)])
}

function checksum(bytes: Buffer): Buffer {
  const sum = Buffer.alloc(4)
  sum.writeUInt32LE(crc32(bytes))
  return sum
}
