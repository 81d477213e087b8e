import { appendFileSync, chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cachedRead } from './cached-read.ts'
import type { Row } from './compare.ts'
import { flood } from './flood.ts'
import { memory } from './memory.ts'
import { minting } from './minting.ts'
import { miss } from './miss.ts'
import { start } from './start.ts'

/**
 * `./dev bench [QUESTION...]`: measures, prints a table and keeps it in bench/history.jsonl. Compare
 * ratios within one run; absolute numbers are this machine's, at this moment.
 */
const QUESTIONS: Readonly<Record<string, (directory: string) => Promise<Row[]>>> = {
  'cached-read': cachedRead,
  minting,
  miss,
  flood,
  start,
  memory,
}
const HISTORY = fileURLToPath(new URL('./history.jsonl', import.meta.url))

const asked = process.argv.slice(2)
const unknown = asked.find((name) => !Object.hasOwn(QUESTIONS, name))
if (unknown !== undefined) {
  process.stderr.write(`bench: no question '${unknown}'; there is ${Object.keys(QUESTIONS)}\n`)
  process.exit(2)
}
const scratch = mkdtempSync(join(tmpdir(), 'metabind-bench-'))
// Other users connect to sockets in it and write their logs there.
chmodSync(scratch, 0o755)
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }))
const rows: Row[] = []
for (const [name, measure] of Object.entries(QUESTIONS)) {
  if (asked.length > 0 && !asked.includes(name)) continue
  const directory = join(scratch, name)
  mkdirSync(directory)
  chmodSync(directory, 0o777)
  const found = await measure(directory)
  for (const row of found) process.stdout.write(`${lineOf(row)}\n`)
  rows.push(...found)
}
appendFileSync(HISTORY, `${JSON.stringify({ node: process.version, rows })}\n`)

function lineOf({ question, subject, values }: Row): string {
  const cells = Object.entries(values).map(([name, value]) => `${name}: ${value}`.padEnd(22))
  return `${question.padEnd(12)} ${subject.padEnd(38)} ${cells.join('')}`.trimEnd()
}
