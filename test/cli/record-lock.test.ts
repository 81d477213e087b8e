import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { withRecord } from '../../src/cli/record-lock.ts'
import { scratchDirectory } from '../harness/scratch.ts'

/** That of two processes with one record the second reads what the first has written. */

const LOCK = fileURLToPath(new URL('../../src/cli/record-lock.ts', import.meta.url))
let scratch: Awaited<ReturnType<typeof scratchDirectory>>
let record: string
beforeEach(async () => {
  scratch = await scratchDirectory()
  record = join(scratch.path, 'i-one.json')
  writeFileSync(record, '0')
})
afterEach(() => scratch[Symbol.asyncDispose]())

/** Says that it asks, takes the record, says so, and adds one to it when it is told to. */
function adder(): ChildProcess {
  const program = `
    import { readFileSync, readSync, writeFileSync, writeSync } from 'node:fs'
    import { withRecord } from ${JSON.stringify(LOCK)}
    writeSync(1, 'asks')
    withRecord(${JSON.stringify(record)}, () => {
      const before = Number(readFileSync(${JSON.stringify(record)}, 'utf8'))
      writeSync(1, 'holds')
      readSync(0, Buffer.alloc(1))
      writeFileSync(${JSON.stringify(record)}, String(before + 1))
    })`
  return spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
}

async function said(child: ChildProcess, word: string): Promise<void> {
  let printed = ''
  while (!printed.includes(word)) {
    const [bytes] = await once(child.stdout ?? child, 'data')
    printed += bytes
  }
}

test('the second waits for the first, and reads what that has written', async () => {
  const [first, second] = [adder(), adder()]
  const ends = [first, second].map((child) => once(child, 'exit'))
  // Whichever is first has the record until it is told to write.
  const holder = await Promise.race(
    [first, second].map((child) => said(child, 'holds').then(() => child)),
  )
  const other = holder === first ? second : first
  expect(() => withRecord(record, () => 'taken', 0)).toThrow(
    expect.objectContaining({ code: 'FILE_UNUSABLE' }),
  )
  for (const child of [holder, other]) child.stdin?.end('x')
  await Promise.all(ends)
  expect(readFileSync(record, 'utf8')).toBe('2')
  expect(withRecord(record, () => 'taken', 0)).toBe('taken')
  expect(statSync(`${record}.lock`).size).toBe(0)
})

test('what a killed process held is free', async () => {
  const child = adder()
  await said(child, 'holds')
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
  expect(withRecord(record, () => readFileSync(record, 'utf8'), 0)).toBe('0')
})

test('a lock that is a link, or has something in it, is nobody’s of ours', async () => {
  writeFileSync(`${record}.lock`, 'mine')
  const refused = expect.objectContaining({ code: 'FILE_UNUSABLE' })
  expect(() => withRecord(record, () => 'taken')).toThrow(refused)
  expect(readFileSync(`${record}.lock`, 'utf8')).toBe('mine')
  const other = join(scratch.path, 'other')
  symlinkSync(record, `${other}.lock`)
  expect(() => withRecord(other, () => 'taken')).toThrow(refused)
})

test('without a record nothing is locked', () => {
  expect(withRecord(undefined, () => 'done')).toBe('done')
})
