import { appendFileSync, chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { barChart, curveChart } from './chart.ts'
import { command } from './command.ts'
import type { Row } from './compare.ts'
import { flood } from './flood.ts'
import { curvesOf, grow } from './grow.ts'
import { idle, memory } from './memory.ts'
import { REQUESTS, requests } from './requests.ts'
import { size } from './size.ts'
import { start } from './start.ts'
import { verify } from './verify.ts'

/**
 * `./dev bench [--json FILE] [--write] [QUESTION...]`: measures, prints a table and keeps it in
 * bench/history.jsonl. Compare ratios within one run; absolute numbers are this machine's, at this moment.
 */
const QUESTIONS: Readonly<Record<string, (directory: string) => Promise<Row[]>>> = {
  flood,
  start,
  command,
  idle,
  memory,
  size,
  verify,
  grow,
}
const HISTORY = fileURLToPath(new URL('./history.jsonl', import.meta.url))
const REQUESTS_CHART = fileURLToPath(new URL('../docs/performance-requests.svg', import.meta.url))
const GROWTH_CHART = fileURLToPath(new URL('../docs/performance-growth.svg', import.meta.url))

const { values, positionals: asked } = parseArgs({
  allowPositionals: true,
  options: { json: { type: 'string' }, write: { type: 'boolean', default: false } },
})
const known = [...REQUESTS, ...Object.keys(QUESTIONS)]
const unknown = asked.find((name) => !known.includes(name))
if (unknown !== undefined) {
  process.stderr.write(`bench: no question '${unknown}'; there is ${known}\n`)
  process.exit(2)
}
const isAsked = (name: string) => asked.length === 0 || asked.includes(name)
const scratch = mkdtempSync(join(tmpdir(), 'metabind-bench-'))
// Other users connect to sockets in it and write their logs there.
chmodSync(scratch, 0o755)
process.once('exit', () => rmSync(scratch, { recursive: true, force: true }))

const rows: Row[] = []
const kinds = REQUESTS.filter(isAsked)
if (kinds.length > 0) await measure('requests', (directory) => requests(directory, kinds))
for (const [name, question] of Object.entries(QUESTIONS)) {
  if (isAsked(name)) await measure(name, question)
}
const result = { node: process.version, rows }
appendFileSync(HISTORY, `${JSON.stringify(result)}\n`)
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`)
if (values.write && kinds.length > 0) writeFileSync(REQUESTS_CHART, requestsChart())
if (values.write && isAsked('grow')) writeFileSync(GROWTH_CHART, growthChart())

async function measure(name: string, question: (directory: string) => Promise<Row[]>) {
  const directory = join(scratch, name)
  mkdirSync(directory)
  chmodSync(directory, 0o777)
  const found = await question(directory)
  for (const row of found) process.stdout.write(`${lineOf(row)}\n`)
  rows.push(...found)
}

function lineOf({ question, subject, values }: Row): string {
  const cells = Object.entries(values).map(([name, value]) => `${name} ${value}`.padEnd(16))
  return `${question.padEnd(12)} ${subject.padEnd(38)} ${cells.join(' ')}`.trimEnd()
}

function requestsChart(): string {
  // What the TPM signs costs so much more that nothing else could be told apart; and it is another question.
  const drawn = rows.filter(({ question }) => question !== 'identity' && question !== 'grow')
  const bars = drawn.flatMap(({ question, subject, values }) => {
    const value = values['x bare']
    const name = `${question}: ${subject}`
    return typeof value === 'number' && !subject.endsWith('64 kept') ? [{ name, value }] : []
  })
  return barChart('CPU of a request, in that of node:http answering a string in the same way', bars)
}

function growthChart(): string {
  const title = 'CPU of a cached read, in that of node:http answering a string'
  return curveChart(title, 'how many there are', curvesOf(rows))
}
