import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readEnrolmentRecord, writeEnrolmentRecord } from '../../src/federation/record-file.ts'
import { scratchDirectory } from '../harness/scratch.ts'

const OWN = { url: 'https://registrar.example', iid: '0a'.repeat(16) }
const RECORD = { ...OWN, subject: 'aliyun:i-1', generation: 3, expiresAtMs: 1_800_000_000_000 }

test('what was written is read, for the same registrar and identity alone', async () => {
  await using scratch = await scratchDirectory()
  expect(readEnrolmentRecord(scratch.path, OWN)).toBeUndefined()
  writeEnrolmentRecord(scratch.path, RECORD)
  expect((await stat(join(scratch.path, 'registrar.json'))).mode & 0o777).toBe(0o600)
  expect(readEnrolmentRecord(scratch.path, OWN)).toEqual(RECORD)
  expect(readEnrolmentRecord(scratch.path, { ...OWN, iid: '0b'.repeat(16) })).toBeUndefined()
  expect(readEnrolmentRecord(scratch.path, { ...OWN, url: 'https://b.example' })).toBeUndefined()
})

test.each([
  ['nothing', ''],
  ['no JSON', '{'],
  ['another version', JSON.stringify({ version: 2, ...RECORD })],
  ['a generation below zero', JSON.stringify({ version: 1, ...RECORD, generation: -1 })],
  ['a time that is none', JSON.stringify({ version: 1, ...RECORD, expiresAtMs: 9e15 })],
  [
    'a subject that speaks to terminals',
    JSON.stringify({ version: 1, ...RECORD, subject: '\x1b' }),
  ],
])('%s counts as none', async (_name, text) => {
  await using scratch = await scratchDirectory()
  await writeFile(join(scratch.path, 'registrar.json'), text, { mode: 0o600 })
  expect(readEnrolmentRecord(scratch.path, OWN)).toBeUndefined()
})
