import { execFileSync } from 'node:child_process'
import { chownSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { CHAIN_ORIGIN, type ChainHead, encodeBody, encodeLine } from '../../src/audit/chain.ts'
import { endOfRenamed } from '../../src/audit/renamed-file.ts'
import { NOBODY } from '../harness/as-uid.ts'
import { openBelow } from '../harness/open-below.ts'
import { requireRoot } from '../harness/root.ts'

let directory: string
let path: string

beforeEach(() => {
  directory = mkdtempSync('/tmp/mb-renamed-')
  path = join(directory, 'audit.log')
})
afterEach(() => {
  expect(openBelow(directory)).toEqual([])
  rmSync(directory, { recursive: true })
})

/** Four lines of a chain, and the head behind each of them. */
const lines: string[] = []
const heads: ChainHead[] = [CHAIN_ORIGIN]
for (let seq = 1; seq <= 4; seq += 1) {
  const line = encodeLine(heads.at(-1)?.hash ?? '', seq, encodeBody({ event: 'token.issued' }))
  lines.push(line.text)
  heads.push(line.head)
}
const [, FIRST = CHAIN_ORIGIN, SECOND = CHAIN_ORIGIN, , FOURTH = CHAIN_ORIGIN] = heads
const put = (name: string, text: readonly string[]) =>
  writeFileSync(join(directory, name), `${text.join('\n')}\n`, { mode: 0o600 })

test('the kept end is the end if the renamed file goes no further', () => {
  put('audit.log.1', lines.slice(0, 2))
  expect(endOfRenamed(path, SECOND)).toEqual(SECOND)
})

test('a file that goes on from the kept end says where it ends, with the kept line in it or not', () => {
  put('audit.log-20260101', lines)
  expect(endOfRenamed(path, SECOND)).toEqual(FOURTH)
  put('audit.log-20260101', ['cut by a tail', ...lines.slice(2)])
  expect(endOfRenamed(path, SECOND)).toEqual(FOURTH)
})

test('lines that continue something else are passed over', () => {
  const other = encodeLine('ab'.repeat(32), 3, encodeBody({ event: 'token.issued' }))
  put('audit.log.1', [...lines.slice(0, 2), other.text])
  expect(endOfRenamed(path, FIRST)).toEqual(SECOND)
  put('audit.log.1', [other.text])
  expect(endOfRenamed(path, FIRST)).toEqual(FIRST)
})

test('only files of a longer name in the same directory are looked at', () => {
  put('audit.log', lines)
  put('audit', lines)
  put('other.log', lines)
  put('x-audit.log', lines)
  expect(endOfRenamed(path, SECOND)).toEqual(SECOND)
  put('audit.log.2', lines)
  expect(endOfRenamed(path, SECOND)).toEqual(FOURTH)
})

test('what is no file of the agent’s own is not read, and keeps no other from it', (context) => {
  put('elsewhere', lines)
  symlinkSync(join(directory, 'elsewhere'), `${path}.1`)
  execFileSync('mkfifo', ['-m', '600', `${path}.2`])
  mkdirSync(`${path}.3`)
  expect(endOfRenamed(path, SECOND)).toEqual(SECOND)
  requireRoot(context, 'a file is given to another user')
  put('audit.log.4', lines)
  chownSync(`${path}.4`, NOBODY, NOBODY)
  expect(endOfRenamed(path, SECOND)).toEqual(SECOND)
  put('audit.log.5', lines)
  expect(endOfRenamed(path, SECOND)).toEqual(FOURTH)
})

test('where there is no directory the kept end is the end', () => {
  expect(endOfRenamed(join(directory, 'gone', 'audit.log'), SECOND)).toEqual(SECOND)
})
