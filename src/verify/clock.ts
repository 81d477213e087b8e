import { MetabindError } from '../errors.ts'
import type { TpmClockInfo } from '../format/tpm-attest.ts'

/** All parts of one evidence come from one run of the TPM. @throws MetabindError VERIFY_CLOCK */
export function requireOneRun(clocks: readonly TpmClockInfo[]): void {
  const runs = new Set(clocks.map((clock) => `${clock.resetCount}.${clock.restartCount}`))
  if (runs.size !== 1) throw new MetabindError('VERIFY_CLOCK')
  // What a number cannot hold could not be compared the next time; no TPM has run for so long.
  const isCountable = clocks.every(({ clockMs }) => clockMs <= BigInt(Number.MAX_SAFE_INTEGER))
  if (!isCountable) throw new MetabindError('VERIFY_CLOCK', 'A clock of more than 285,000 years.')
}
