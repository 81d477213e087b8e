import { MetabindError } from '../errors.ts'
import type { TpmClockInfo } from '../format/tpm-attest.ts'
import { clockProgress, type TpmCounters } from '../format/tpm-clock.ts'

/** What a verifier may keep of the last evidence that it accepted of an AK. */
export interface ClockRecord extends TpmCounters {
  /** Name of the AK in hex: the record is about this key alone. */
  readonly akName: string
}

/** All parts of one evidence come from one run of the TPM. @throws MetabindError VERIFY_CLOCK */
export function requireOneRun(clocks: readonly TpmClockInfo[]): void {
  const runs = new Set(clocks.map((clock) => `${clock.resetCount}.${clock.restartCount}`))
  if (runs.size !== 1) throw new MetabindError('VERIFY_CLOCK', 'The parts are from several runs.')
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
