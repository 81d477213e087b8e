import type { Sample, Seen } from './samples.ts'
import { type Point, type Slope, slopeOf, thinned, type Verdict, verdictOf } from './slope.ts'

/** What of a soak is as it must be. */

/** What is measured of an agent, and how much it may rise in an hour. */
export interface Series {
  readonly name: string
  readonly unit: string
  /** Undefined if it was not measured. */
  readonly of: (sample: Sample, before: Sample | undefined) => number | undefined
  /** A heap goes up and down with every collection: what is left after one is the least of a span. */
  readonly by: 'least' | 'median'
  /** In its unit, or in hundredths of its median; none: whoever else loads the machine moves it, and it is only told. */
  readonly bound: { readonly perHour: number } | { readonly percentPerHour: number } | 'none'
}

const MIB = 2 ** 20
const mib = (bytes: number | undefined) => (bytes === undefined ? undefined : bytes / MIB)

export const SERIES: readonly Series[] = [
  {
    ...{ name: 'heap after collections', unit: 'MiB', by: 'least', bound: { perHour: 2 } },
    of: ({ heap }) => mib(heap?.heapUsed),
  },
  {
    ...{ name: 'RSS', unit: 'MiB', by: 'median', bound: { perHour: 4 } },
    of: ({ process }) => mib(process?.rssBytes),
  },
  {
    ...{ name: 'private memory', unit: 'MiB', by: 'median', bound: { perHour: 4 } },
    of: ({ process }) => mib(process?.privateBytes),
  },
  {
    ...{ name: 'descriptors', unit: '', by: 'least', bound: { perHour: 1 } },
    of: ({ process }) => process?.descriptors,
  },
  {
    ...{ name: 'objects and sessions in the TPM', unit: '', by: 'least', bound: { perHour: 0.5 } },
    of: ({ tpm }) => tpm && tpm.transient + tpm.loadedSessions + tpm.savedSessions + tpm.persistent,
  },
  {
    ...{ name: 'CPU of a request', unit: 'µs', by: 'median', bound: { percentPerHour: 25 } },
    of: cpuUsOf,
  },
  {
    ...{ name: 'p50', unit: 'ms', by: 'least', bound: 'none' },
    of: ({ latency }) => latency.all?.p50,
  },
  {
    ...{ name: 'p99', unit: 'ms', by: 'least', bound: 'none' },
    of: ({ latency }) => latency.all?.p99,
  },
  {
    ...{ name: 'load of the machine', unit: '', by: 'median', bound: 'none' },
    of: ({ load }) => load,
  },
]

function cpuUsOf(sample: Sample, before: Sample | undefined): number | undefined {
  if (before?.process === undefined || sample.process === undefined) return undefined
  if (before.pid !== sample.pid || sample.requests === 0) return undefined
  return ((sample.process.cpuSeconds - before.process.cpuSeconds) / sample.requests) * 1e6
}

export interface Judged {
  readonly series: Series
  readonly pid: number
  /** Of what was judged. */
  readonly first: number
  readonly last: number
  /** In an hour. */
  readonly slope: Slope | undefined
  readonly bound: number | undefined
  readonly verdict: Verdict | 'told'
}

const HOUR_MS = 3_600_000
const MINUTE = 1 / 60

/** The agents that were there for longer than twice their warm-up, each series of each of them. */
export function judgeLevels({ samples }: Seen, warmUpMs: number): Judged[] {
  const agents = [...Map.groupBy(samples, ({ pid }) => pid).values()]
  const long = agents.filter((own) => (own.at(-1)?.at ?? 0) - (own[0]?.at ?? 0) > 2 * warmUpMs)
  return long.flatMap((own) => SERIES.map((series) => judgeOne(series, own, warmUpMs)))
}

function judgeOne(series: Series, own: readonly Sample[], warmUpMs: number): Judged {
  const beganMs = own[0]?.at ?? 0
  const points = own.flatMap((sample, at): Point[] => {
    const y = series.of(sample, own[at - 1])
    const isWarm = sample.at - beganMs >= warmUpMs
    return isWarm && y !== undefined ? [[(sample.at - beganMs) / HOUR_MS, y]] : []
  })
  const judged = thinned(points, MINUTE, series.by)
  const ys = judged.map(([, y]) => y)
  const slope = slopeOf(judged)
  const bound = boundOf(series, ys)
  const [first = Number.NaN, last = Number.NaN] = [ys[0], ys.at(-1)]
  const verdict = bound === undefined ? 'told' : verdictOf(slope, bound)
  return { series, pid: own[0]?.pid ?? 0, first, last, slope, bound, verdict }
}

function boundOf({ bound }: Series, ys: readonly number[]): number | undefined {
  if (bound === 'none') return undefined
  if ('perHour' in bound) return bound.perHour
  const middle = [...ys].sort((one, other) => one - other)[Math.floor(ys.length / 2)] ?? Number.NaN
  return (middle * bound.percentPerHour) / 100
}

/** After a kill, as long as an answer may be under way and its report on its way. */
const KILL_MS = 30_000

// What only the source can answer, when the simulator, a process of this machine, was not run for 900 ms.
const LATE_SOURCE = / (absent|document|document 2): 503 SOURCE_DOWN:/

/** How often the source was late. */
export function lateSources({ samples }: Seen): number {
  return samples.flatMap(({ wrong }) => wrong).filter((said) => LATE_SOURCE.test(said)).length
}

/** What was answered that must not be, or not answered that had to be, in sentences. */
export function faultsIn({ samples, events, failures }: Seen): string[] {
  const killedMs = events.filter(({ what }) => what === 'SIGKILL').map(({ at }) => at)
  const revokedMs = events.filter(({ what }) => what === 'all revoked').map(({ at }) => at)
  const isSoonAfter = (at: number, moments: readonly number[]) =>
    moments.some((moment) => at >= moment && at - moment < KILL_MS)
  const lastMs = samples.at(-1)?.at ?? 0
  const lost = samples
    .filter(({ at }) => !isSoonAfter(at, killedMs))
    .flatMap((sample) => unansweredIn(sample, isSoonAfter(sample.at, revokedMs)))
  const failed = failures
    .filter(({ at }) => !isSoonAfter(at, killedMs) && at <= lastMs)
    .map(({ at, error }) => `${new Date(at).toISOString()} ${error}`)
  const wrong = samples.flatMap((sample) => sample.wrong).filter((said) => !LATE_SOURCE.test(said))
  return [...wrong, ...lost, ...failed, ...endingsIn(events)]
}

/** Socket errors are no answer; whoever passes by looks at no answer but the last. */
function unansweredIn({ at, outcomes }: Sample, isRevoked: boolean): string[] {
  return Object.entries(outcomes).flatMap(([name, counts]) =>
    Object.keys(counts)
      .filter((what) =>
        name === 'passing'
          ? what !== '200' && !(isRevoked && what === '401')
          : !/^\d{3}$/.test(what),
      )
      .map((what) => `${new Date(at).toISOString()} ${name}: ${what}, ${counts[what]} times`),
  )
}

function endingsIn(events: Seen['events']): string[] {
  const said = (event: Seen['events'][number]) =>
    `${new Date(event.at).toISOString()} ${JSON.stringify(event)}`
  const wrongVersions = events.filter(
    (one) => one.what === 'upgrade' && one.version !== one.expected,
  )
  const wrongEnds = events.filter(({ what, code }) => what === 'end' && code !== 0)
  const isOver = events.some(({ what }) => what === 'end')
  return [
    ...wrongVersions.map(said),
    ...wrongEnds.map(said),
    ...(isOver ? [] : ['it has not ended']),
  ]
}
