import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Outcome } from './fault.ts'

/** What became of faults: kept in a folder, a file a row, and shown as the table of docs/reliability.md. */

const PAGE = fileURLToPath(new URL('../../docs/reliability.md', import.meta.url))
const BEGIN = '<!-- ./dev faults --write: begin -->'
const END = '<!-- ./dev faults --write: end -->'

export function keepOutcome(folder: string, outcome: Outcome): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${outcome.name}.json`), `${JSON.stringify(outcome, null, 2)}\n`)
}

export function keptOutcomes(folders: readonly string[]): Map<string, Outcome> {
  const files = folders.filter(existsSync).flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.endsWith('.json'))
      .map((name) => join(folder, name)),
  )
  const outcomes = files.map((file): Outcome => JSON.parse(readFileSync(file, 'utf8')))
  return new Map(outcomes.map((outcome) => [outcome.name, outcome]))
}

/** Puts the table into the page; rows of which nothing is kept stay as they are there. */
export function writeTable(names: readonly string[], kept: ReadonlyMap<string, Outcome>): void {
  const page = readFileSync(PAGE, 'utf8')
  const from = page.indexOf(BEGIN)
  const to = page.indexOf(END)
  if (from < 0 || to < 0) throw new Error(`${PAGE} has no place for the table`)
  const rows = new Map(
    [...page.slice(from, to).matchAll(/^\| `([a-z0-9-]+)` .*$/gm)].map(([row, name]) => [
      name,
      row,
    ]),
  )
  for (const [name, outcome] of kept) rows.set(name, rowOf(outcome))
  const lines = names.flatMap((name) => rows.get(name) ?? [])
  const table = [...HEAD, ...lines].join('\n')
  writeFileSync(PAGE, `${page.slice(0, from)}${BEGIN}\n${table}\n${page.slice(to)}`)
}

const HEAD = [
  '| Row | What is done | Times | What callers saw | Well again: median, longest | Longest answer | Wrong |',
  '|---|---|---|---|---|---|---|',
]

export function rowOf(outcome: Outcome): string {
  const { name, what, times, seen, ended, wellMs, longestAnswerMs, wrong } = outcome
  const endings = ended === 0 ? '' : `; it ended by itself ${ended} times`
  const cells = [
    `\`${name}\``,
    what,
    times.toLocaleString('en'),
    `${seenInWords(seen)}${endings}`,
    `${seconds(wellMs.median)}, ${seconds(wellMs.longest)}`,
    seconds(longestAnswerMs),
    wrong.length === 0 ? 'nothing' : wrong.join('; '),
  ]
  return `| ${cells.join(' | ')} |`
}

/** First what is right, then refusals by their code. */
function seenInWords(seen: Outcome['seen']): string {
  const { right = 0, ...others } = seen
  const said = Object.entries(others).map(([as, count]) => {
    const shown = /^[A-Z_]+$/.test(as) ? `\`${as}\`` : as
    return `${shown} ${count.toLocaleString('en')}`
  })
  return [`right ${right.toLocaleString('en')}`, ...said].join(', ')
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
