/**
 * The caller's time in milliseconds. Comparisons with an invalid date are false, whichever way round:
 * each check of a time would pass.
 *
 * @throws RangeError if it is no valid date
 */
export function timeMsOf(now: Date): number {
  const ms = now.getTime()
  if (!Number.isFinite(ms)) throw new RangeError('now is no valid date')
  return ms
}
