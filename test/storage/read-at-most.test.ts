import { execFileSync, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  readAtMost,
  readFileAtMost,
  readRegularFileAtMost,
} from '../../src/storage/read-at-most.ts'
import { openBelow } from '../harness/open-below.ts'
import { scratchDirectory } from '../harness/scratch.ts'

let directory: AsyncDisposable & { readonly path: string }
const at = (name: string) => join(directory.path, name)

beforeAll(async () => {
  directory = await scratchDirectory()
  writeFileSync(at('ten'), '0123456789')
})
afterAll(() => directory[Symbol.asyncDispose]())

test.each([
  [0, ''],
  [9, '012345678'],
  [10, '0123456789'],
  [11, '0123456789'],
])('of ten bytes, at most %d', (bytesMax, expected) => {
  expect(readFileAtMost(at('ten'), bytesMax).toString()).toBe(expected)
})

test('a device without end is read as far as asked', () => {
  expect(readFileAtMost('/dev/zero', 1000)).toEqual(Buffer.alloc(1000))
})

test('a file that says it has no bytes is read', () => {
  const whole = readFileSync('/proc/version')
  expect(readFileAtMost('/proc/version', 10_000)).toEqual(whole)
})

test('a pipe is read piece by piece, to its end', () => {
  execFileSync('mkfifo', [at('pipe')])
  const writer = spawn('sh', ['-c', `(printf one; sleep 0.1; printf two) >"${at('pipe')}"`])
  writer.unref()
  expect(readFileAtMost(at('pipe'), 100).toString()).toBe('onetwo')
})

test('an open file is read from where it stands', () => {
  const descriptor = openSync(at('ten'), 'r')
  expect(readAtMost(descriptor, 4).toString()).toBe('0123')
  expect(readAtMost(descriptor, 4).toString()).toBe('4567')
  closeSync(descriptor)
})

test('where nobody may wait, a pipe and a device are refused', () => {
  execFileSync('mkfifo', [at('unwritten')])
  for (const path of [at('unwritten'), '/dev/zero', directory.path]) {
    expect(() => readRegularFileAtMost(path, 100)).toThrow('not a regular file')
  }
  expect(readRegularFileAtMost(at('ten'), 9).toString()).toBe('012345678')
})

test('no descriptor is left open', () => {
  readFileAtMost(at('ten'), 4)
  readRegularFileAtMost(at('ten'), 4)
  execFileSync('mkfifo', [at('left')])
  expect(() => readRegularFileAtMost(at('left'), 4)).toThrow()
  expect(openBelow(directory.path)).toEqual([])
})
