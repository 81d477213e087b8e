import { UsageError } from '../errors.ts'

/** A duration as every option of the command line takes it: `600`, `30s`, `10m`, `2h`, `7d`. */

const UNIT_SECONDS: Readonly<Record<string, number>> = { '': 1, s: 1, m: 60, h: 3600, d: 86_400 }

/**
 * @param option that it was given with, such as `--ttl`
 * @param secondsMax the longest that it may be; the shortest is a second
 * @returns whole seconds
 * @throws UsageError with the option, what it takes, and what it was given
 */
export function durationSeconds(option: string, text: string, secondsMax: number): number {
  const [, digits = '', unit = ''] = /^([0-9]{1,9})([smhd]?)$/.exec(text) ?? []
  const seconds = Number(digits) * (UNIT_SECONDS[unit] ?? 0)
  if (seconds >= 1 && seconds <= secondsMax) return seconds
  const takes = `a duration from 1s to ${inLargestUnit(secondsMax)}, such as 600, 10m or 2h`
  throw new UsageError(`${option} takes ${takes}, not '${text}'`)
}

function inLargestUnit(seconds: number): string {
  const [unit, inUnit] = Object.entries(UNIT_SECONDS).findLast(
    ([, length]) => seconds % length === 0,
  ) ?? ['s', 1]
  return `${seconds / inUnit}${unit}`
}
