import { execFileSync } from 'node:child_process'
import { fstatSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'metabind-'))
})

afterEach(() => rmSync(directory, { recursive: true }))

const LOG = new URL('../../src/log.ts', import.meta.url).href
const SCRIPT = `
const { openLog } = await import(${JSON.stringify(LOG)})
const log = openLog('debug')
for (const level of ['error', 'warn', 'notice', 'info', 'debug']) log[level](level)
`

/** The lines that a log writes whose standard output is `file`. */
function linesWith(journalStream: (output: string) => string): string[] {
  const file = join(directory, 'out')
  const descriptor = openSync(file, 'w')
  const { dev, ino } = fstatSync(descriptor)
  execFileSync(process.execPath, ['--input-type=module', '-e', SCRIPT], {
    env: { ...process.env, JOURNAL_STREAM: journalStream(`${dev}:${ino}`) },
    stdio: ['ignore', descriptor, 'inherit'],
  })
  return readFileSync(file, 'utf8').trimEnd().split('\n')
}

test('lines to the journal begin with their priority, as sd-daemon(3) says', () => {
  const lines = linesWith((output) => output)
  expect(lines.map((line) => /^(<\d>)\{.*"msg":"(\w+)"\}$/.exec(line)?.slice(1))).toEqual([
    ['<3>', 'error'],
    ['<4>', 'warn'],
    ['<5>', 'notice'],
    ['<6>', 'info'],
    ['<7>', 'debug'],
  ])
})

test('lines to anything else are JSON alone, although a parent writes to the journal', () => {
  const lines = linesWith(() => '1:2')
  expect(lines.map((line) => JSON.parse(line).level)).toEqual([
    'error',
    'warn',
    'notice',
    'info',
    'debug',
  ])
})
