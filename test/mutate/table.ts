import type { Mutant } from './report.ts'

/** How many mutants of an area met which end. */
export interface Score {
  readonly area: string
  readonly mutants: number
  readonly killed: number
  readonly timedOut: number
  readonly survived: number
  /** Of all mutants, how many the tests noticed. */
  readonly percent: number
}

export function scoreOf(area: string, mutants: readonly Mutant[]): Score {
  const count = (status: Mutant['status']) =>
    mutants.filter((mutant) => mutant.status === status).length
  const killed = count('Killed')
  const timedOut = count('Timeout')
  const all = mutants.length - count('Ignored')
  const percent = all === 0 ? 100 : (100 * (killed + timedOut)) / all
  return { area, mutants: all, killed, timedOut, survived: all - killed - timedOut, percent }
}

const HEAD = `| Area | Mutants | Killed | Timed out | Lived on | Noticed |
|---|---|---|---|---|---|
`

/** The page with the row of an area put in, in place of the one that it had. */
export function withScore(page: string, score: Score): string {
  const at = page.indexOf(HEAD)
  if (at < 0) throw new Error('docs/reliability.md has no table of mutants')
  const first = at + HEAD.length
  const end = page.indexOf('\n\n', first - 1) + 1
  const rows = page.slice(first, end).split('\n').filter(Boolean)
  const others = rows.filter((row) => !row.startsWith(`| ${score.area} |`))
  return (
    page.slice(0, first) +
    [...others, rowOf(score)].map((row) => `${row}\n`).join('') +
    page.slice(end)
  )
}

function rowOf({ area, mutants, killed, timedOut, survived, percent }: Score): string {
  return `| ${area} | ${mutants} | ${killed} | ${timedOut} | ${survived} | ${percent.toFixed(1)} % |`
}
