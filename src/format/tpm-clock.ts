/** TPMS_CLOCK_INFO without `safe` (TPM 2.0 Part 2, 10.11.1). Counters wrap at 2^32. */
export interface TpmCounters {
  /** Exact for 285,000 years. */
  readonly clockMs: number
  readonly resetCount: number
  readonly restartCount: number
}

/** How a TPM came from one reading of its counters to a later one. */
export type ClockProgress = 'same-run' | 'resumed' | 'rebooted' | 'none'

const HALF = 2 ** 31
const FULL = 2 ** 32
// A TPM saves its clock every four seconds or so: after a power loss it goes back by that much.
const CLOCK_TOLERANCE_MS = 5000

/**
 * Judges two readings. Differences count, modulo 2^32: the values themselves may be obfuscated.
 * Anything that is no progress, suspend or reboot is a cleared, rolled back or cloned TPM: 'none'.
 */
export function clockProgress(last: TpmCounters, now: TpmCounters): ClockProgress {
  const resets = difference(now.resetCount, last.resetCount)
  const restarts = difference(now.restartCount, last.restartCount)
  const clockWentOn = now.clockMs + CLOCK_TOLERANCE_MS >= last.clockMs
  if (resets === 0 && restarts === 0) return now.clockMs > last.clockMs ? 'same-run' : 'none'
  if (!clockWentOn) return 'none'
  if (resets === 0) return restarts < HALF ? 'resumed' : 'none'
  return resets < HALF ? 'rebooted' : 'none'
}

function difference(now: number, then: number): number {
  return (now - then + FULL) % FULL
}
