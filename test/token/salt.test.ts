import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { loadSalt } from '../../src/token/salt.ts'

let directory: string
let file: string
beforeEach(() => {
  directory = mkdtempSync('/tmp/mb-salt-')
  file = join(directory, 'salt')
})
afterEach(() => rmSync(directory, { recursive: true }))

test('the salt is 32 random bytes that only the agent can read, and stays for the boot', () => {
  const salt = loadSalt(directory).reveal()
  expect(salt).toHaveLength(32)
  expect(salt).not.toEqual(Buffer.alloc(32))
  expect(readFileSync(file)).toEqual(salt)
  expect(statSync(file).mode & 0o7777).toBe(0o600)
  expect(loadSalt(directory).reveal()).toEqual(salt)
})

test('each runtime directory has another', () => {
  const first = loadSalt(directory).reveal()
  rmSync(file)
  expect(loadSalt(directory).reveal()).not.toEqual(first)
})

test.each([0, 1, 31])('a file of %i bytes is no salt, and is not replaced', (bytes) => {
  writeFileSync(file, Buffer.alloc(bytes, 1))
  chmodSync(file, 0o600)
  expect(() => loadSalt(directory)).toThrow(expect.objectContaining({ code: 'DIRECTORY_UNSAFE' }))
  expect(readFileSync(file)).toHaveLength(bytes)
})
