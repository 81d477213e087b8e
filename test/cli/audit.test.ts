import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  CHAIN_ORIGIN,
  encodeLine,
  LINE_BYTES_MAX,
  LINE_READ_BYTES_MAX,
} from '../../src/audit/chain.ts'
import { CLI } from '../harness/programs.ts'

// As the command reads.
const CHUNK_BYTES = 1_048_576

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'metabind-'))
})

afterEach(() => rmSync(directory, { recursive: true }))

function verify(...args: readonly string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, 'audit', 'verify', ...args], (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), output: stdout + stderr }),
    )
  })
}

/** A file whose lines, their ends included, are so long. */
function fileOf(lengths: readonly number[]): string {
  const path = join(directory, 'audit.log')
  let head = CHAIN_ORIGIN
  let text = ''
  for (const [at, length] of lengths.entries()) {
    const event = at === 0 ? 'chain.start' : 'token.issued'
    const lineOf = (detail: string) =>
      encodeLine(head.hash, head.seq + 1, JSON.stringify({ event, detail }))
    const line = lineOf('x'.repeat(length - 1 - lineOf('').text.length))
    text += `${line.text}\n`
    head = line.head
  }
  writeFileSync(path, text)
  return path
}

describe('metabind audit verify reads every line that may have been written', () => {
  test.each([
    ['one that ends with a chunk', [CHUNK_BYTES - LINE_BYTES_MAX, LINE_BYTES_MAX, 1000]],
    ['one that begins before a chunk and ends in it', [CHUNK_BYTES - 500, LINE_BYTES_MAX, 1000]],
    ['one whose end is the first byte of a chunk', [CHUNK_BYTES - 499, 500, 1000]],
    ['the longest, across two borders', [300, LINE_READ_BYTES_MAX, LINE_READ_BYTES_MAX, 300]],
    ['the longest ones, many', Array<number>(100).fill(LINE_BYTES_MAX)],
  ])('%s', async (_which, lengths) => {
    const whole = expect.stringContaining(`whole: ${lengths.length} records`)
    expect(await verify(fileOf(lengths))).toEqual({ code: 0, output: whole })
  })

  test('and none that is longer', async () => {
    const path = fileOf([300, 2 * LINE_READ_BYTES_MAX + 1])
    expect(await verify(path)).toMatchObject({
      code: 1,
      output: expect.stringContaining(`${path}:2: not a whole record`),
    })
  })
})
