import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { keptInputs } from './corpus.ts'
import type { Figures } from './engine.ts'

/** What all runs of a target came to. */
export interface Result extends Omit<Figures, 'finding'> {
  /** Runs that ended with a finding. */
  readonly findings: number
}

/** A target with what its runs came to; undefined if there was none. */
export interface Row {
  readonly name: string
  readonly execution: string
  readonly result: Result | undefined
}

const PAGE = fileURLToPath(new URL('../../docs/reliability.md', import.meta.url))
// The one table of the section.
const TABLE = /(\n## Fuzzing\n[^|]*\n)\|[\s\S]*?\n(?=\n)/
const HEAD = [
  '| Target | One execution is | Executions | of them a second of CPU | Edges | Features | Inputs kept | Found |',
  '|---|---|---:|---:|---:|---:|---:|---:|',
]

/** Puts the figures into docs/reliability.md. What was not run stays as it is there. */
export function writeTable(rows: readonly Row[]): void {
  const page = readFileSync(PAGE, 'utf8')
  const standing = TABLE.exec(page)?.[0].split('\n')
  if (standing === undefined) throw new Error(`${PAGE} has no table in its section Fuzzing`)
  const lines = rows.map((row) => {
    const before = standing.find((line) => line.startsWith(`| \`${row.name}\` |`))
    return row.result === undefined && before !== undefined ? before : lineOf(row)
  })
  const table = [...HEAD, ...lines, lineOfAll(lines, rows)].join('\n')
  writeFileSync(
    PAGE,
    page.replace(TABLE, (_, before) => `${before}${table}\n`),
  )
}

function lineOf({ name, execution, result }: Row): string {
  const { executions = 0, cpuSeconds = 0, edges = 0, features = 0 } = result ?? {}
  const rate = cpuSeconds > 0 ? Math.round(executions / cpuSeconds) : 0
  const kept = keptInputs('corpus', name).length
  const figures = [executions, rate, edges, features, kept, keptInputs('found', name).length]
  return `| \`${name}\` | ${execution} | ${figures.map(grouped).join(' | ')} |`
}

function lineOfAll(lines: readonly string[], rows: readonly Row[]): string {
  const executions = lines.reduce((sum, line) => sum + executionsIn(line), 0)
  const found = rows.reduce((sum, { name }) => sum + keptInputs('found', name).length, 0)
  return `| all | | ${grouped(executions)} | | | | | ${found} |`
}

const executionsIn = (line: string): number => Number(line.split(' | ')[2]?.replaceAll(',', ''))

function grouped(number: number): string {
  return number.toLocaleString('en-US')
}
