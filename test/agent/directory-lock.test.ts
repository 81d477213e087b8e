import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { lockDirectory } from '../../src/agent/directory-lock.ts'
import { readPrivateFile } from '../../src/storage/private-file.ts'

const PRIVATE_FILE = new URL('../../src/storage/private-file.ts', import.meta.url).href

let directory: string
beforeEach(() => {
  directory = mkdtempSync('/tmp/mb-lock-')
})
afterEach(() => rmSync(directory, { recursive: true }))

/** A process that is killed after it has written a file, and before that has its name. */
function killedWhileWriting(file: string): void {
  const script = `const { createPrivateFile } = await import(${JSON.stringify(PRIVATE_FILE)})
const bytes = new Uint8Array(32)
Object.defineProperty(bytes, 'length', { get: () => {
  if (written++ > 0) process.kill(process.pid, 'SIGKILL')
  return 32
} })
let written = 0
createPrivateFile(${JSON.stringify(file)}, bytes)`
  try {
    execFileSync(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' })
  } catch {
    // It was killed.
  }
}

test('what a killed agent had half written is gone once the next has the directory', () => {
  killedWhileWriting(join(directory, 'salt'))
  expect(readdirSync(directory)).toEqual([expect.stringMatching(/^\.[0-9a-f]{16}\.new$/)])
  lockDirectory(directory)
  expect(readdirSync(directory)).toEqual(['agent.lock'])
})

test('nothing else is removed', () => {
  const names = ['salt', 'kept-items', '.hidden', '.0123.new', '0123456789abcdef.new']
  for (const name of names) writeFileSync(join(directory, name), name, { mode: 0o600 })
  mkdirSync(join(directory, '.0123456789abcdef.new'))
  symlinkSync('salt', join(directory, '.fedcba9876543210.new'))
  lockDirectory(directory)
  expect(readdirSync(directory)).toEqual(expect.arrayContaining(names))
  expect(readdirSync(join(directory, '.0123456789abcdef.new'))).toEqual([])
  expect(readFileSync(join(directory, 'salt'), 'utf8')).toBe('salt')
  expect(readPrivateFile(join(directory, 'salt'), 32)?.toString()).toBe('salt')
})
