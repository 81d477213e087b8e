import { readFileSync, writeFileSync } from 'node:fs'
import { type Curve, timeChart } from '../../bench/chart.ts'
import { type Judged, SERIES } from './judge.ts'
import type { Sample, Seen } from './samples.ts'

/** What a soak showed, as docs/reliability.md and its pictures have it. */

const PAGE = new URL('../../docs/reliability.md', import.meta.url)
const MEMORY = new URL('../../docs/reliability-memory.svg', import.meta.url)
const HELD = new URL('../../docs/reliability-held.svg', import.meta.url)
const LATENCY = new URL('../../docs/reliability-latency.svg', import.meta.url)
const BEGIN = '<!-- soak: begin -->\n'
const END = '<!-- soak: end -->\n'

export interface Report {
  readonly seconds: number
  readonly requests: number
  readonly agents: number
  readonly events: Readonly<Record<string, number>>
  /** Answers by what was asked, and status. */
  readonly answers: Readonly<Record<string, Readonly<Record<string, number>>>>
  readonly audit: string
  readonly faults: readonly string[]
  readonly levels: readonly Judged[]
  /** Of one core, by the agents. */
  readonly cpuPercent: number
}

/** Writes the figures into the page, and draws the pictures. */
export function writePage(report: Report, seen: Seen): void {
  const page = readFileSync(PAGE, 'utf8')
  const [before = '', rest = ''] = page.split(BEGIN)
  const [, after] = rest.split(END)
  if (after === undefined) throw new Error('docs/reliability.md has no place for a soak')
  writeFileSync(PAGE, `${before}${BEGIN}${figuresOf(report)}${END}${after}`)
  for (const [file, text] of picturesOf(seen)) writeFileSync(file, text)
}

export function figuresOf(report: Report): string {
  const hours = Math.round(report.seconds / 360) / 10
  const happened = Object.entries(report.events).map(([what, count]) => `| ${what} | ${count} |`)
  return `
| In ${hours} hours | |
|---|---|
| requests answered | ${grouped(report.requests)} |
${happened.join('\n')}
| answers that must not be, and requests lost but by a kill | ${report.faults.length} |
| audit chain | ${report.audit} |
| CPU of the agents, of one core | ${report.cpuPercent} % |

Of each agent that was there for long, from when it was warm: from what, to what, and how much an hour.

| Series | may rise | ${agentNames(report).join(' | ')} |
|---|---|${agentNames(report)
    .map(() => '---|')
    .join('')}
${SERIES.map(({ name }) => rowOf(name, report)).join('\n')}

| Asked | answers |
|---|---|
${Object.entries(report.answers)
  .sort(([one], [other]) => one.localeCompare(other))
  .map(([name, counts]) => `| ${name} | ${countsOf(counts)} |`)
  .join('\n')}

![Memory of the agents over the run](reliability-memory.svg)

![Descriptors, TPM objects and token keys over the run](reliability-held.svg)

![Latencies over the run](reliability-latency.svg)
`
}

function agentNames({ levels }: Report): string[] {
  return [...new Set(levels.map(({ pid }) => pid))].map((_, at) => `agent ${at + 1}`)
}

function rowOf(name: string, { levels }: Report): string {
  const own = levels.filter(({ series }) => series.name === name)
  const series = own[0]?.series
  const most = series === undefined ? '' : boundText(series.bound, series.unit)
  return `| ${name}${series?.unit ? `, ${series.unit}` : ''} | ${most} | ${own.map(cellOf).join(' | ')} |`
}

function boundText(bound: Judged['series']['bound'], unit: string): string {
  if (bound === 'none') return '—'
  return 'perHour' in bound ? `${bound.perHour} ${unit}`.trim() : `${bound.percentPerHour} %`
}

function cellOf({ first, last, slope, verdict }: Judged): string {
  const range =
    slope === undefined
      ? ''
      : `, ${rounded(slope.median)} (${rounded(slope.low)} to ${rounded(slope.high)})`
  return `${rounded(first)} to ${rounded(last)}${range}: ${verdict}`
}

function countsOf(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .map(([what, count]) => `${what}: ${grouped(count)}`)
    .join(', ')
}

const MIB = 2 ** 20
const rounded = (value: number) => Number(value.toPrecision(3))
const grouped = (count: number) => count.toLocaleString('en-US')

function picturesOf({ samples, events }: Seen): [URL, string][] {
  const beganMs = events[0]?.at ?? 0
  const minuteOf = (at: number) => (at - beganMs) / 60_000
  const marks = events.filter(({ what }) => what === 'ready').map(({ at }) => minuteOf(at))
  const curve = (name: string, of: (sample: Sample) => number | undefined): Curve => ({
    name,
    points: samples.flatMap((sample) => {
      const value = of(sample)
      return value === undefined ? [] : [[minuteOf(sample.at), value] as const]
    }),
  })
  const memory = [
    curve('RSS', ({ process }) => process && process.rssBytes / MIB),
    curve('PSS', ({ process }) => process && process.pssBytes / MIB),
    curve('private', ({ process }) => process && process.privateBytes / MIB),
    curve('control group', ({ cgroupBytes }) => cgroupBytes && cgroupBytes / MIB),
    curve('heap', ({ heap }) => heap && heap.heapUsed / MIB),
  ]
  const held = [
    curve('descriptors', ({ process }) => process?.descriptors),
    curve('objects in the TPM', ({ tpm }) => tpm && tpm.transient + tpm.persistent),
    curve('sessions in the TPM', ({ tpm }) => tpm && tpm.loadedSessions + tpm.savedSessions),
    curve('token keys', ({ metrics }) => metrics.metabind_epochs_held),
  ]
  const latency = [
    curve('p50, all', ({ latency }) => latency.all?.p50),
    curve('p99, all', ({ latency }) => latency.all?.p99),
    curve('p50, cached reads', ({ latency }) => latency.read?.p50),
    curve('load of the machine', ({ load }) => load || undefined),
  ]
  return [
    [
      MEMORY,
      timeChart(
        'Memory of the agents in MiB; dotted: another agent',
        memory.filter(isDrawn),
        marks,
      ),
    ],
    [HELD, timeChart('What the agents hold; dotted: another agent', held.filter(isDrawn), marks)],
    [
      LATENCY,
      timeChart(
        'Milliseconds to an answer, on a machine that others load as well',
        latency.filter(isDrawn),
        marks,
        'powers',
      ),
    ],
  ]
}

const isDrawn = ({ points }: Curve) => points.length > 0
