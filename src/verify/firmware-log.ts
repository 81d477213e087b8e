import { MetabindError } from '../errors.ts'
import { replayEventLog } from '../format/event-log.ts'
import { hashAlgorithm, tpmHash } from '../format/tpm-algorithms.ts'
import type { PcrValues } from './pcr-quote.ts'

/**
 * PCRs that only firmware extends. Boot loader and operating system go on extending the others, and
 * keep logs of their own.
 */
const FIRMWARE_PCRS: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7]

/**
 * If the log is of a quoted bank, it leads to the quoted values. A PCR without events must have its
 * first value: events cannot be left out of the log.
 *
 * @param quoted values whose digest the quote was found to carry
 * @throws MetabindError VERIFY_EVENT_LOG
 */
export function requireFirmwareLog(log: Uint8Array, quoted: PcrValues): void {
  const replayed = replayEventLog(log)
  for (const [bank, values] of quoted) {
    const logged = replayed.get(bank)
    if (logged === undefined) continue
    const untouched = Buffer.alloc(tpmHash(hashAlgorithm(bank))?.bytes ?? 0)
    for (const pcr of FIRMWARE_PCRS) {
      const isSame = values.get(pcr)?.equals(logged.get(pcr) ?? untouched) ?? true
      if (!isSame) throw new MetabindError('VERIFY_EVENT_LOG', `Found: ${bank} PCR ${pcr}.`)
    }
  }
}

/** Whether the log is of a bank in which every PCR of the firmware was quoted. */
export function coversFirmware(log: Uint8Array, quoted: PcrValues): boolean {
  const replayed = replayEventLog(log)
  return [...quoted].some(
    ([bank, values]) => replayed.has(bank) && FIRMWARE_PCRS.every((pcr) => values.has(pcr)),
  )
}
