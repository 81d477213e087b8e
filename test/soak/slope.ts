/** Whether a series rises: the slope of Theil and Sen, which a few wild points do not move, with its confidence. */

/** When, and how much. */
export type Point = readonly [x: number, y: number]

export interface Slope {
  /** Of y for each x: the median of the slopes of all pairs of points. */
  readonly median: number
  /** Between these it is with 95 % confidence (Sen 1968). */
  readonly low: number
  readonly high: number
}

export type Verdict = 'level' | 'rises' | 'not shown'

const Z_95 = 1.96
/** With fewer the confidence means nothing. */
const POINTS_MIN = 8

/** @returns undefined if there are too few points */
export function slopeOf(points: readonly Point[]): Slope | undefined {
  if (points.length < POINTS_MIN) return undefined
  const slopes = points.flatMap(([x, y], at) =>
    points.slice(at + 1).flatMap(([x2, y2]) => (x2 === x ? [] : [(y2 - y) / (x2 - x)])),
  )
  slopes.sort((one, other) => one - other)
  const margin = Z_95 * Math.sqrt(kendallVariance(points.map(([, y]) => y)))
  const middle = (slopes.length - 1) / 2
  const at = (place: number) =>
    slopes[Math.min(slopes.length - 1, Math.max(0, Math.round(place)))] ?? Number.NaN
  return { median: at(middle), low: at(middle - margin / 2), high: at(middle + margin / 2) }
}

/** Level: it rises less than the bound, with confidence. A rise beyond it is as certain; between them nothing is shown. */
export function verdictOf(slope: Slope | undefined, bound: number): Verdict {
  if (slope === undefined) return 'not shown'
  if (slope.high <= bound) return 'level'
  return slope.low > bound ? 'rises' : 'not shown'
}

/** Of Kendall's S, equal values counted (Kendall 1970). */
function kendallVariance(values: readonly number[]): number {
  const n = values.length
  const term = (count: number) => count * (count - 1) * (2 * count + 5)
  const ties = [...Map.groupBy(values, (value) => value).values()].map(({ length }) => length)
  return (term(n) - ties.reduce((sum, count) => sum + term(count), 0)) / 18
}

/** One point of each span of x, where its first point is: the least of them, or the median. */
export function thinned(
  points: readonly Point[],
  span: number,
  by: 'least' | 'median',
): readonly Point[] {
  const spans = Map.groupBy(points, ([x]) => Math.floor((x - (points[0]?.[0] ?? 0)) / span))
  return [...spans.values()].map((inside) => {
    const ys = inside.map(([, y]) => y).sort((one, other) => one - other)
    const y = by === 'least' ? ys[0] : ys[Math.floor((ys.length - 1) / 2)]
    return [inside[0]?.[0] ?? Number.NaN, y ?? Number.NaN]
  })
}
