import { execFileSync } from 'node:child_process'
import {
  closeSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { CHAIN_ORIGIN, encodeBody, encodeLine, LINE_READ_BYTES_MAX } from '../../src/audit/chain.ts'
import {
  type ChainFile,
  endOfChain,
  openChainFile,
  readTail,
  wasMoved,
  writeWhole,
} from '../../src/audit/chain-file.ts'
import { openBelow } from '../harness/open-below.ts'

let directory: string
let path: string
let file: ChainFile | undefined

beforeEach(() => {
  directory = mkdtempSync('/tmp/mb-chain-file-')
  path = join(directory, 'audit.log')
  file = undefined
})
afterEach(() => {
  if (file !== undefined) closeSync(file.descriptor)
  rmSync(directory, { recursive: true })
})

function open(text = ''): ChainFile {
  writeFileSync(path, text, { mode: 0o600 })
  file = openChainFile(path)
  return file
}

const FIRST = encodeLine(CHAIN_ORIGIN.hash, 1, encodeBody({ event: 'chain.start' }))
const SECOND = encodeLine(FIRST.head.hash, 2, encodeBody({ event: 'token.issued' }))

test.each([
  ['nothing', '', undefined, 0],
  ['a line end', '\n', undefined, 0],
  ['line ends', '\n\n', undefined, 0],
  ['one line', `${FIRST.text}\n`, FIRST.head, 0],
  ['two lines', `${FIRST.text}\n${SECOND.text}\n`, SECOND.head, 0],
  ['a line and the beginning of another', `${FIRST.text}\n${SECOND.text}`, FIRST.head, 1],
  ['the beginning of a line', FIRST.text.slice(0, 20), undefined, 1],
  ['what is no record', `${FIRST.text}\nx\n`, undefined, 0],
  ['what is no record, and one character more', `${FIRST.text}\n\nx`, undefined, 1],
])('a file of %s', (_what, text, head, isCut) => {
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  const opened = open(text)
  expect(opened.bytes).toBe(text.length)
  const found = endOfChain(opened)
  expect([found.head?.seq, found.head?.hash]).toEqual([head?.seq, head?.hash])
  expect(found.cutBytes).toBe(isCut === 1 ? text.length - whole.length : 0)
  expect([opened.bytes, readFileSync(path, 'utf8')]).toEqual([whole.length, whole])
})

test('what is written is behind what is there, and counted', async () => {
  const opened = open('before\n')
  await writeWhole(opened, 'ä\n')
  expect([opened.bytes, readFileSync(path, 'utf8')]).toEqual([10, 'before\nä\n'])
})

test('of a long file the end is read, longer than a line can be', () => {
  const opened = open(`${'a'.repeat(100)}${'b'.repeat(2 * LINE_READ_BYTES_MAX)}`)
  expect(readTail(opened.descriptor, opened.bytes)).toEqual(
    Buffer.alloc(2 * LINE_READ_BYTES_MAX, 'b'),
  )
})

test('a path is told to lead elsewhere when its file was renamed, replaced or removed', () => {
  const opened = open()
  expect(wasMoved(path, opened)).toBe(false)
  renameSync(path, `${path}.1`)
  expect(wasMoved(path, opened)).toBe(true)
  writeFileSync(path, '')
  expect(wasMoved(path, opened)).toBe(true)
  unlinkSync(path)
  renameSync(`${path}.1`, path)
  expect(wasMoved(path, opened)).toBe(false)
})

test('one that is refused is closed again', () => {
  writeFileSync(path, '', { mode: 0o644 })
  expect(() => openChainFile(path)).toThrow()
  execFileSync('mkfifo', ['-m', '600', join(directory, 'pipe')])
  expect(() => openChainFile(join(directory, 'pipe'))).toThrow()
  expect(openBelow(directory)).toEqual([])
})
