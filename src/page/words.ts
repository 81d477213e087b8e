/** Values in words. All that the page shows goes through here: whatever its origin, it is text. */

// Control and format characters, as a terminal is spared them: they turn lines around, or hide what is there.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cs}]/gu
const CHARACTERS_MAX = 300

/** Text that others may have chosen: what cannot be seen is spelled out, and what is long is cut. */
export function shown(text: string): string {
  const cut = text.length > CHARACTERS_MAX ? `${text.slice(0, CHARACTERS_MAX)}…` : text
  return cut.replaceAll(UNSEEN, (one) => `\\u{${one.codePointAt(0)?.toString(16)}}`)
}

const UNITS = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'min'],
  [1, 's'],
] as const

/** A span of time in its two largest units: `3 h 5 min`. */
export function span(seconds: number): string {
  let rest = Math.max(0, Math.floor(seconds))
  if (!Number.isFinite(rest)) return '?'
  const parts: string[] = []
  for (const [size, unit] of UNITS) {
    if (rest >= size && parts.length < 2) parts.push(`${Math.floor(rest / size)} ${unit}`)
    rest %= size
  }
  return parts.length === 0 ? '0 s' : parts.join(' ')
}

/** How long ago a time was, by the agent's clock. @param nowMs of that clock */
export function ago(time: string, nowMs: number): string {
  const seconds = Math.floor((nowMs - Date.parse(time)) / 1000)
  return seconds < 1 ? 'now' : `${span(seconds)} ago`
}

export function number(value: number): string {
  return value.toLocaleString('en-US')
}

/** A number with its noun: `1 token`, `2 tokens`. */
export function several(count: number, noun: string): string {
  return `${number(count)} ${noun}${count === 1 ? '' : 's'}`
}

export function bytes(count: number): string {
  return count < 10_240 ? `${number(count)} B` : `${number(Math.round(count / 1024))} KiB`
}

interface Who {
  readonly uid?: number | undefined
  readonly user?: string | undefined
  readonly unit?: string | undefined
  readonly container?: string | undefined
  readonly isPlaced?: boolean | undefined
}

/** A user by name and number, in the first line; where its process runs, in the second. */
export function whoIs({ uid, user, unit, container, isPlaced }: Who): readonly [string, string] {
  const number = uid === undefined ? 'a user that the kernel does not name' : `uid ${uid}`
  const name = user === undefined ? number : `${shown(user)} (${number})`
  if (container !== undefined) return [name, `container ${shown(container).slice(0, 64)}`]
  if (unit !== undefined) return [name, shown(unit)]
  return [name, isPlaced === false ? 'unit not known' : 'in no unit']
}
