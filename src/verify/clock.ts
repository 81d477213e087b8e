import { MetabindError } from '../errors.ts'
import type { TpmClockInfo } from '../format/tpm-attest.ts'

/** What a verifier may keep of the last evidence that it accepted of an AK. */
export interface ClockRecord {
  /** Name of the AK in hex: the record is about this key alone. */
  readonly akName: string
  readonly clockMs: bigint
  readonly resetCount: number
  readonly restartCount: number
}

const HALF = 2 ** 31
const FULL = 2 ** 32
// A TPM saves its clock every four seconds or so: after a power loss it goes back by that much.
const CLOCK_TOLERANCE_MS = 5000n

/** All parts of one evidence come from one run of the TPM. @throws MetabindError VERIFY_CLOCK */
export function requireOneRun(clocks: readonly TpmClockInfo[]): void {
  const runs = new Set(clocks.map((clock) => `${clock.resetCount}.${clock.restartCount}`))
  if (runs.size !== 1) throw new MetabindError('VERIFY_CLOCK', 'The parts are from several runs.')
}

/**
 * The counters went on from where they were. Differences count, modulo 2^32: the values themselves
 * may be obfuscated. Anything that is no progress, suspend or reboot is a cleared, rolled back or
 * cloned TPM.
 *
 * @throws MetabindError VERIFY_CLOCK
 */
export function requireProgress(last: ClockRecord, now: TpmClockInfo): void {
  const resets = difference(now.resetCount, last.resetCount)
  const restarts = difference(now.restartCount, last.restartCount)
  const isSameRun = resets === 0 && restarts === 0 && now.clockMs > last.clockMs
  const isResumed = resets === 0 && restarts > 0 && restarts < HALF
  const isRebooted = resets > 0 && resets < HALF
  const clockWentOn = now.clockMs + CLOCK_TOLERANCE_MS >= last.clockMs
  if (!(isSameRun || ((isResumed || isRebooted) && clockWentOn))) {
    throw new MetabindError('VERIFY_CLOCK', `${resets} resets, ${restarts} restarts since.`)
  }
}

function difference(now: number, then: number): number {
  return (now - then + FULL) % FULL
}
