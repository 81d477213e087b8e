import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { compressDeb } from '../../packaging/deb-archive.ts'
import { cachedXz, joinXz, xz } from '../../packaging/xz.ts'

let work: string

beforeEach(() => {
  work = mkdtempSync('/tmp/metabind-deb-archive-')
  return () => rmSync(work, { recursive: true })
})

// Hexadecimal, so that it can be compressed; of 2 MB, so that level 0 makes several blocks.
const words = (bytes: number) => Buffer.from(randomBytes(bytes / 2).toString('hex'))
const unpacked = (stream: Buffer) =>
  execFileSync('xz', ['--decompress', '--single-stream', '--stdout'], {
    input: stream,
    maxBuffer: 1 << 26,
  })

describe('joined streams of xz', () => {
  test.each([
    ['one', [0]],
    ['several', [0, 1, 2]],
  ])('%s: are one stream that unpacks to all of them', (_name, which) => {
    const pieces = [words(2 << 20), words(1024), Buffer.alloc(10_240)]
    const chosen = which.map((index) => pieces[index] ?? Buffer.of())
    const joined = joinXz(chosen.map((piece) => xz(piece, 0)))
    expect(unpacked(joined).equals(Buffer.concat(chosen))).toBe(true)
    writeFileSync(join(work, 'joined.xz'), joined)
    const listed = execFileSync('xz', ['--robot', '--list', join(work, 'joined.xz')]).toString()
    expect(listed).toMatch(/^file\t1\t/m)
  })

  test('with more blocks than a byte can count', () => {
    const piece = words(64)
    const streams = Array.from({ length: 300 }, () => xz(piece, 0))
    const joined = joinXz(streams)
    expect(unpacked(joined).length).toBe(300 * piece.length)
  })

  test('of different checksums are refused', () => {
    const other = execFileSync('xz', ['--check=crc32', '--stdout'], { input: 'other' })
    expect(() => joinXz([xz(Buffer.from('one'), 0), other])).toThrow('different flags')
  })
})

describe('the cache of compressed runtimes', () => {
  const bytes = words(4096)

  test('gives what was compressed before, and other bytes for another level', () => {
    const made = cachedXz(bytes, 0, work)
    const [file = ''] = readdirSync(work)
    expect(made.equals(xz(bytes, 0))).toBe(true)
    // The same contents otherwise compressed: what is there is taken.
    const other = xz(bytes, 9)
    writeFileSync(join(work, file), other)
    expect(cachedXz(bytes, 0, work).equals(other)).toBe(true)
    expect(cachedXz(bytes, 1, work).equals(other)).toBe(false)
    expect(readdirSync(work)).toHaveLength(2)
  })

  test.each([
    ['cut off', (whole: Buffer) => whole.subarray(0, 100)],
    ['of something else', () => xz(Buffer.from('else'), 0)],
  ])('a file that is %s is made anew', (_name, spoil) => {
    const made = cachedXz(bytes, 0, work)
    const file = join(work, readdirSync(work)[0] ?? '')
    writeFileSync(file, spoil(made))
    expect(cachedXz(bytes, 0, work).equals(made)).toBe(true)
    expect(readFileSync(file).equals(made)).toBe(true)
  })

  test('is bounded: the files that were not used for longest are removed', () => {
    const first = words(64)
    cachedXz(first, 0, work)
    const [file = ''] = readdirSync(work)
    for (let count = 0; count < 12; count += 1) cachedXz(words(64), 0, work)
    expect(readdirSync(work)).toHaveLength(8)
    expect(readdirSync(work)).not.toContain(file)
  })
})

describe('a compressed DEB', () => {
  const control =
    'Package: some\nVersion: 1\nArchitecture: all\nMaintainer: none\nDescription: none\n'

  function build(notes: string): string {
    const tree = join(work, 'tree')
    mkdirSync(join(tree, 'DEBIAN'), { recursive: true })
    mkdirSync(join(tree, 'lib'), { recursive: true })
    writeFileSync(join(tree, 'DEBIAN/control'), control)
    writeFileSync(join(tree, 'lib/a'), notes)
    writeFileSync(join(tree, 'lib/runtime'), Buffer.alloc(5000, 'runtime'))
    writeFileSync(join(tree, 'lib/z'), notes)
    execFileSync('dpkg-deb', ['-Znone', '--build', tree, join(work, 'plain.deb')])
    return join(work, 'plain.deb')
  }
  const contents = (deb: string) =>
    ['--fsys-tarfile', '--ctrl-tarfile'].map((what) => execFileSync('dpkg-deb', [what, deb]))

  test('has what the uncompressed one has, and the same bytes with and without the cache', () => {
    const cache = join(work, 'cache')
    const at = (name: string) => join(work, name)
    const plain = build('one\n')
    const compress = (name: string, folder: string | undefined) =>
      compressDeb(plain, './lib/runtime', work, at(name), { level: 0, cache: folder })
    compress('without', undefined)
    compress('filling', cache)
    compress('with', cache)
    expect(contents(at('with'))).toEqual(contents(plain))
    for (const name of ['filling', 'with']) {
      expect(readFileSync(at(name)).equals(readFileSync(at('without')))).toBe(true)
    }
  })

  test('takes the runtime from the cache when other files have changed', () => {
    const cache = join(work, 'cache')
    const compress = (plain: string) =>
      compressDeb(plain, './lib/runtime', work, join(work, 'deb'), { level: 0, cache })
    compress(build('one\n'))
    compress(build('another, longer\n'))
    expect(readdirSync(cache)).toHaveLength(1)
    const tar = contents(join(work, 'deb'))[0]
    expect(execFileSync('tar', ['-xO', './lib/z'], { input: tar }).toString()).toContain('longer')
  })

  test('without the runtime is not built', () => {
    const compression = { level: 0, cache: undefined }
    expect(() =>
      compressDeb(build('one\n'), './lib/other', work, join(work, 'deb'), compression),
    ).toThrow('./lib/other is not in the archive')
  })
})
