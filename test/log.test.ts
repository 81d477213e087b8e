import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fstatSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'metabind-'))
})

afterEach(() => rmSync(directory, { recursive: true }))

const LOG = new URL('../src/log.ts', import.meta.url).href
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

const SHARES = new URL('../src/shares.ts', import.meta.url).href
const FLOOD = `
const { openLog } = await import(${JSON.stringify(LOG)})
const { AGENT, OWNER, ROOT } = await import(${JSON.stringify(SHARES)})
let dropped = 0
const log = openLog('info', () => (dropped += 1))
const line = (owner) => log.notice({ [OWNER]: owner, path: 'x'.repeat(200) }, owner)
for (let made = 0; made < 40_000; made += 1) line('uid 1000')
const droppedOfFlood = dropped
for (const owner of ['uid 1001', ROOT, AGENT]) for (let made = 0; made < 100; made += 1) line(owner)
log.error('a line that is no record')
process.send({ dropped, droppedOfFlood })
await new Promise((resolve) => process.once('message', resolve))
for (let before = -1; before !== dropped; ) {
  await new Promise((resolve) => setTimeout(resolve, 10))
  before = dropped
  log.notice({ [OWNER]: 'uid 1000' }, 'there is room again')
}
process.disconnect()
`

test('while nobody reads, a flood of one user’s lines costs no line of anybody else’s', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '-e', FLOOD], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const [counts] = await once(child, 'message')
  expect(counts.droppedOfFlood).toBeGreaterThan(0)
  expect(counts.dropped).toBe(counts.droppedOfFlood)
  const output = text(child.stdout as NonNullable<typeof child.stdout>)
  child.send('read')
  const lines = (await output)
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  const linesOf = (msg: string) => lines.filter((line) => line.msg === msg).length
  expect(linesOf('uid 1000')).toBe(40_000 - counts.dropped)
  for (const owner of ['uid 1001', 'uid 0', 'the agent']) expect(linesOf(owner)).toBe(100)
  expect(linesOf('a line that is no record')).toBe(1)
  expect(linesOf('there is room again')).toBe(1)
})
