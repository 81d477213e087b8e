/** Charts as SVG, for docs/: plain shapes, no script, readable on light and dark pages. */

const WIDTH = 720
const LEFT = 250
const ROW = 22
const TEXT = 'font-family="sans-serif" font-size="12" fill="#777"'
const COLOURS = ['#2b7bba', '#d9722b', '#4c9f50', '#a05cb0', '#b0343c', '#7a7a7a']

/** A bar. */
export interface Bar {
  readonly name: string
  readonly value: number
}

/** A curve; both axes are logarithmic. */
export interface Curve {
  readonly name: string
  readonly points: readonly (readonly [x: number, y: number])[]
}

export function barChart(title: string, bars: readonly Bar[]): string {
  const most = Math.max(...bars.map(({ value }) => value))
  const drawn = bars.map(({ name, value }, at) => {
    const y = 40 + at * ROW
    const width = Math.max(1, (value / most) * (WIDTH - LEFT - 70))
    return [
      text(LEFT - 8, y + 13, name, 'end'),
      `<rect x="${LEFT}" y="${y}" width="${width.toFixed(1)}" height="${ROW - 6}" fill="${COLOURS[0]}"/>`,
      text(LEFT + width + 6, y + 13, String(value)),
    ].join('\n')
  })
  return svg(title, 50 + bars.length * ROW, drawn)
}

export function curveChart(title: string, xName: string, curves: readonly Curve[]): string {
  const [left, right, top, bottom] = [60, 480, 40, 260]
  const points = curves.flatMap((curve) => curve.points)
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)]
  const place = (value: number, all: readonly number[], from: number, to: number) => {
    const [least, most] = [Math.log10(Math.min(...all)), Math.log10(Math.max(...all) * 1.01)]
    return from + ((Math.log10(value) - least) / (most - least)) * (to - from)
  }
  const x = (value: number) => place(value, xs, left, right)
  // Half as much and twice as much as was seen: what does not change shall look so.
  const y = (value: number) => place(value, [Math.min(...ys) / 2, Math.max(...ys) * 2], bottom, top)
  const drawn = curves.map((curve, at) => {
    const colour = COLOURS[at % COLOURS.length]
    const line = curve.points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(' ')
    return [
      `<polyline points="${line}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      `<rect x="${right + 20}" y="${top + at * ROW}" width="12" height="12" fill="${colour}"/>`,
      text(right + 38, top + at * ROW + 11, curve.name),
    ].join('\n')
  })
  const marks = [...new Set(xs)].map((value) => text(x(value), bottom + 18, short(value), 'middle'))
  const heights = [Math.min(...ys), Math.max(...ys)].map((value) =>
    text(left - 6, y(value) + 4, String(value), 'end'),
  )
  const axes = `<path d="M${left} ${top}V${bottom}H${right}" fill="none" stroke="#777"/>`
  const name = text((left + right) / 2, bottom + 38, xName, 'middle')
  return svg(title, bottom + 55, [axes, ...marks, ...heights, name, ...drawn])
}

/** Values over minutes, from 0 up or by powers of ten; `marks` are moments, drawn as upright lines. */
export function timeChart(
  title: string,
  curves: readonly Curve[],
  marks: readonly number[],
  scale: 'linear' | 'powers' = 'linear',
): string {
  const [left, right, top, bottom] = [60, 500, 40, 260]
  const points = curves.flatMap((curve) => curve.points)
  const minutes = Math.max(...points.map(([minute]) => minute), 1)
  const ys = points.map(([, value]) => value)
  const up = scale === 'linear' ? (value: number) => value : Math.log10
  const [least, most] = scale === 'linear' ? [0, Math.max(...ys) * 1.1] : powersAround(ys)
  const x = (minute: number) => left + (minute / minutes) * (right - left)
  const part = (value: number) => (up(value) - up(least)) / (up(most) - up(least))
  // Of a power of ten 0 has no place, and of a linear scale it is the foot.
  const y = (value: number) => bottom - (least === 0 ? value / most : part(value)) * (bottom - top)
  const lines = curves.map((curve, at) => {
    const colour = COLOURS[at % COLOURS.length]
    const line = curve.points.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(' ')
    return [
      `<polyline points="${line}" fill="none" stroke="${colour}" stroke-width="1.2"/>`,
      `<rect x="${right + 20}" y="${top + at * ROW}" width="12" height="12" fill="${colour}"/>`,
      text(right + 38, top + at * ROW + 11, curve.name),
    ].join('\n')
  })
  const moments = marks.map((minute) => `M${x(minute).toFixed(1)} ${top}V${bottom}`).join('')
  const upright = `<path d="${moments}" fill="none" stroke="#bbb" stroke-dasharray="2 3"/>`
  const axes = `<path d="M${left} ${top}V${bottom}H${right}" fill="none" stroke="#777"/>`
  const heights = heightsOf(least, most).map((value) =>
    text(left - 6, y(value) + 4, short(value), 'end'),
  )
  const times = [0, 0.25, 0.5, 0.75, 1].map((part) =>
    text(x(part * minutes), bottom + 18, String(Math.round(part * minutes)), 'middle'),
  )
  const name = text((left + right) / 2, bottom + 38, 'minutes', 'middle')
  return svg(title, bottom + 55, [axes, upright, ...heights, ...times, name, ...lines])
}

function powersAround(values: readonly number[]): [least: number, most: number] {
  const powers = values.filter((value) => value > 0).map(Math.log10)
  return [10 ** Math.floor(Math.min(...powers)), 10 ** Math.ceil(Math.max(...powers))]
}

/** Where the axis says how high it is. */
function heightsOf(least: number, most: number): number[] {
  if (least === 0) return [0, 0.25, 0.5, 0.75].map((part) => Math.round(part * most))
  const powers = Math.round(Math.log10(most / least))
  return Array.from({ length: powers + 1 }, (_, at) => Number((least * 10 ** at).toPrecision(1)))
}

function svg(title: string, height: number, parts: readonly string[]): string {
  const head = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img">`
  return [
    head,
    `<title>${escaped(title)}</title>`,
    text(10, 22, title),
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}

function text(x: number, y: number, said: string, anchor = 'start'): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" ${TEXT}>${escaped(said)}</text>`
}

function short(value: number): string {
  return value >= 1e6 ? `${value / 1e6}M` : value >= 1000 ? `${value / 1000}k` : String(value)
}

function escaped(said: string): string {
  return said.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
