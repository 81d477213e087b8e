/** What is kept of TPMS_CLOCK_INFO (TPM 2.0 Part 2, 10.11.1). Counters wrap at 2^32. */
export interface TpmCounters {
  /** Exact for 285,000 years. */
  readonly clockMs: number
  readonly resetCount: number
  readonly restartCount: number
}

/** TPMS_CLOCK_INFO as a TPM tells it. */
export interface ClockReading extends TpmCounters {
  /** False after a loss of power, until the clock is surely ahead of all that it ever told. */
  readonly safe: boolean
}

/** How a TPM came from one reading of its counters to a later one. */
export type ClockProgress = 'same-run' | 'resumed' | 'rebooted'
/**
 * How it cannot have come: the clock of one and the same run stands or is `behind`, as of a second machine that goes on
 * from the same state; or run or clock are those of an `earlier` state.
 */
export type ClockRegress = 'behind' | 'earlier'

const HALF = 2 ** 31
const FULL = 2 ** 32

/**
 * Judges two readings. Differences count, modulo 2^32: the values themselves may be obfuscated.
 * Anything that is no progress, suspend or reboot is a cleared, rolled back or cloned TPM.
 *
 * A TPM saves its clock now and then, swtpm only at a shutdown. After a loss of power it goes on from what was saved and
 * says that it is not safe; how far it went back shows nothing then, and the counters alone are judged.
 */
export function clockProgress(last: TpmCounters, now: ClockReading): ClockProgress | ClockRegress {
  const resets = difference(now.resetCount, last.resetCount)
  const restarts = difference(now.restartCount, last.restartCount)
  const clockWentOn = !now.safe || now.clockMs >= last.clockMs
  if (resets === 0 && restarts === 0) return now.clockMs > last.clockMs ? 'same-run' : 'behind'
  if (!clockWentOn) return 'earlier'
  if (resets === 0) return restarts < HALF ? 'resumed' : 'earlier'
  return resets < HALF ? 'rebooted' : 'earlier'
}

function difference(now: number, then: number): number {
  return (now - then + FULL) % FULL
}

/** Whether counters went on. */
export function isProgress(change: ClockProgress | ClockRegress): change is ClockProgress {
  return change !== 'behind' && change !== 'earlier'
}
