import { MetabindError } from '../errors.ts'
import type { TpmClockInfo } from '../format/tpm-attest.ts'
import { clockProgress, type TpmCounters } from '../format/tpm-clock.ts'

/** What a verifier may keep of the last evidence that it accepted of an AK. */
export interface ClockRecord extends TpmCounters {
  /** Name of the AK in hex: the record is about this key alone. */
  readonly akName: string
}

const COUNTER_MAX = 2 ** 32 - 1
const NAME = /^(?:[0-9a-f]{2})+$/

/**
 * The record that a verifier kept. A Name in another spelling would be taken for another key's, and the
 * record be left out.
 *
 * @throws RangeError if it is none
 */
export function requireClockRecord(record: ClockRecord): ClockRecord {
  const { akName, clockMs, resetCount, restartCount } = record
  const isClock = Number.isSafeInteger(clockMs) && clockMs >= 0
  const areCounters = [resetCount, restartCount].every(
    (counter) => Number.isInteger(counter) && counter >= 0 && counter <= COUNTER_MAX,
  )
  if (!isClock || !areCounters || !NAME.test(akName)) throw new RangeError('lastClock is no record')
  return record
}

/** All parts of one evidence come from one run of the TPM. @throws MetabindError VERIFY_CLOCK */
export function requireOneRun(clocks: readonly TpmClockInfo[]): void {
  const runs = new Set(clocks.map((clock) => `${clock.resetCount}.${clock.restartCount}`))
  if (runs.size !== 1) throw new MetabindError('VERIFY_CLOCK', 'The parts are from several runs.')
  // What a number cannot hold could not be compared the next time; no TPM has run for so long.
  const isCountable = clocks.every(({ clockMs }) => clockMs <= BigInt(Number.MAX_SAFE_INTEGER))
  if (!isCountable) throw new MetabindError('VERIFY_CLOCK', 'A clock of more than 285,000 years.')
}

/**
 * The counters went on from where they were. Anything that is no progress, suspend or reboot is a
 * cleared, rolled back or cloned TPM.
 *
 * @throws MetabindError VERIFY_CLOCK
 */
export function requireProgress(last: ClockRecord, now: TpmClockInfo): void {
  const counters = { ...now, clockMs: Number(now.clockMs) }
  if (clockProgress(last, counters) === 'none') throw new MetabindError('VERIFY_CLOCK')
}
