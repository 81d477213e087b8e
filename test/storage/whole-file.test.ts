import { linkSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { TEMPORARY_NAME, writeWholeFile } from '../../src/storage/whole-file.ts'
import { scratchDirectory } from '../harness/scratch.ts'

let scratch: Awaited<ReturnType<typeof scratchDirectory>>
const at = (name: string) => join(scratch.path, name)
beforeEach(async () => {
  scratch = await scratchDirectory()
})
afterEach(() => scratch[Symbol.asyncDispose]())

const BYTES = Buffer.from('what is new')

test('replaces what is there, with the mode that is asked for, and leaves nothing beside it', () => {
  writeFileSync(at('file'), 'what was', { mode: 0o644 })
  writeWholeFile(at('file'), BYTES, 0o600)
  expect(readFileSync(at('file'))).toEqual(BYTES)
  expect(statSync(at('file')).mode & 0o777).toBe(0o600)
  expect(readdirSync(scratch.path)).toEqual(['file'])
})

test('is placed when all of it is written, under a name that is known to be for a moment', () => {
  let seen = ''
  writeWholeFile(at('file'), BYTES, 0o600, (temporary) => {
    expect(readFileSync(temporary)).toEqual(BYTES)
    seen = temporary.slice(scratch.path.length + 1)
    linkSync(temporary, at('file'))
  })
  expect(seen).toMatch(TEMPORARY_NAME)
  expect(readFileSync(at('file'))).toEqual(BYTES)
})

test('of what cannot be placed the old one stays, and nothing is left behind', () => {
  mkdirSync(at('folder'))
  expect(() => writeWholeFile(at('folder'), BYTES, 0o600)).toThrow(/EISDIR|ENOTEMPTY|EEXIST/)
  expect(readdirSync(scratch.path)).toEqual(['folder'])
  expect(() => writeWholeFile(at('absent/file'), BYTES, 0o600)).toThrow('ENOENT')
})
