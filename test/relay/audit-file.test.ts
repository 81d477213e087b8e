import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { MetabindError } from '../../src/errors.ts'
import { verifyAudit } from '../../src/format/audit-verify.ts'
import { type AuditFile, openAuditFile } from '../../src/relay/audit-file.ts'

let directory: string
let path: string
let faults: MetabindError[]
let lost: number

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'metabind-'))
  path = join(directory, 'audit.log')
  faults = []
  lost = 0
})

afterEach(() => rmSync(directory, { recursive: true }))

const open = (): AuditFile =>
  openAuditFile(path, {
    onFault: (error) => faults.push(error),
    onLost: () => {
      lost += 1
    },
  })
const record = { time: '2026-01-01T00:00:00.000Z', event: 'token.issued' }
const verdict = () =>
  verifyAudit([{ name: path, lines: readFileSync(path, 'latin1').split('\n').slice(0, -1) }], {})

/** A disk that is full after so many bytes: setrlimit(2), RLIMIT_FSIZE, of this process. */
function diskHolds(bytes: number | 'unlimited'): void {
  execFileSync('prlimit', [`--pid=${process.pid}`, `--fsize=${bytes}:unlimited`])
}

describe('a full disk', () => {
  afterEach(() => diskHolds('unlimited'))

  test('loses nothing that fits the queue', async () => {
    const file = open()
    await file.flush()
    diskHolds(4096)
    for (let count = 0; count < 100; count += 1) file.append(record)
    await file.flush()
    expect(faults.map(({ code }) => code)).toEqual(['DIRECTORY_FAULT'])
    // What part of the batch was written has been cut off again.
    expect(verdict()).toMatchObject({ records: 1, broken: undefined })
    diskHolds('unlimited')
    await file.close()
    expect(verdict()).toMatchObject({ records: 101, lost: 0, broken: undefined })
    expect(lost).toBe(0)
  })

  test('is reported once, bounds what waits, and leaves a gap with its size in the chain', async () => {
    const file = open()
    await file.flush()
    diskHolds(1)
    for (let count = 0; count < 12_345; count += 1) file.append(record)
    await file.flush()
    await file.flush()
    expect(faults).toHaveLength(1)
    expect(lost).toBe(2345)
    diskHolds('unlimited')
    await file.flush()
    file.append(record)
    await file.close()
    expect(verdict()).toMatchObject({
      records: 1 + 10_000 + 1 + 1,
      lost: 2345,
      head: { seq: 1 + 12_345 + 1 + 1 },
      broken: undefined,
    })
  })
})

describe('a file that is not the agent’s alone is refused at start', () => {
  const opening = (code: string) => expect(open).toThrow(expect.objectContaining({ code }))

  test('open to others', () => {
    writeFileSync(path, '', { mode: 0o640 })
    opening('DIRECTORY_UNSAFE')
  })

  test('a symbolic link', () => {
    symlinkSync(join(directory, 'elsewhere'), path)
    opening('DIRECTORY_FAULT')
  })

  test('a pipe', () => {
    execFileSync('mkfifo', ['-m', '600', path])
    opening('DIRECTORY_UNSAFE')
  })

  test('in no directory', () => {
    path = join(directory, 'absent', 'audit.log')
    opening('DIRECTORY_FAULT')
  })
})

test('a chain whose last line is foreign goes on, and the verifier finds the line', async () => {
  writeFileSync(path, 'not a record\n', { mode: 0o600 })
  const file = open()
  file.append(record)
  await file.close()
  expect(verdict().broken).toMatchObject({ line: 1 })
})

test('records appended together keep their order and numbers', async () => {
  const file = open()
  const numbers = Array.from({ length: 1000 }, () => file.append(record))
  await file.close()
  expect(numbers).toEqual(Array.from({ length: 1000 }, (_, at) => at + 2))
  expect(verdict()).toMatchObject({ records: 1001, broken: undefined })
})
