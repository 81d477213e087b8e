import { MetabindError } from '../errors.ts'
import type { TpmHash } from '../format/algorithms.ts'
import type { Evidence } from '../format/evidence.ts'
import { type Logs, parseLogs } from './logs.ts'
import type { PcrValues } from './pcr-quote.ts'
import { type ReplayedPcr, replayedPcrs } from './pcr-replay.ts'

/** PCRs that only firmware extends. Boot loader and operating system go on extending the others. */
const FIRMWARE_PCRS: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7]

/** Logs, and what they explain of the quote. */
export interface ReplayedLogs {
  readonly logs: Logs
  readonly quoted: PcrValues
  readonly pcrs: readonly ReplayedPcr[]
}

/**
 * @param quoted values that mean something only when the quote was found to carry their digest
 * @throws MetabindError VERIFY_EVENT_LOG if a log is malformed
 */
export function replayLogs(evidence: Evidence, quoted: PcrValues): ReplayedLogs {
  const logs = parseLogs(evidence, quoted.keys())
  return { logs, quoted, pcrs: replayedPcrs(logs, quoted) }
}

/**
 * If the firmware's log is of a quoted bank, logs lead to the quoted values of PCRs 0 to 7. A PCR without events
 * must have its first value: events cannot be left out of the log.
 *
 * @throws MetabindError VERIFY_EVENT_LOG
 */
export function requireFirmwareLog(replayed: ReplayedLogs): void {
  for (const bank of firmwareBanks(replayed)) {
    const values = replayed.quoted.get(bank)
    const odd = FIRMWARE_PCRS.find((pcr) => values?.has(pcr) && !isOwn(replayed, bank, pcr))
    if (odd !== undefined) {
      throw new MetabindError('VERIFY_EVENT_LOG', `Found: ${bank} PCR ${odd}.`)
    }
  }
}

/** Whether the firmware's log is of a bank in which every PCR of the firmware was quoted. */
export function coversFirmware(replayed: ReplayedLogs): boolean {
  return firmwareBanks(replayed).some((bank) =>
    FIRMWARE_PCRS.every((pcr) => isOwn(replayed, bank, pcr)),
  )
}

function firmwareBanks({ logs, quoted }: ReplayedLogs): TpmHash['name'][] {
  return [...quoted.keys()].filter((bank) => logs.firmware?.banks.has(bank))
}

/** Whether there are logs, and they lead to every value that was quoted. */
export function coversQuote(replayed: ReplayedLogs): boolean {
  if (replayed.pcrs.every(({ events }) => events.length === 0)) return false
  return [...replayed.quoted].every(([bank, values]) =>
    [...values.keys()].every((pcr) => isReplayed(replayed, bank, pcr)),
  )
}

/**
 * Logs lead to the values of these PCRs, in every quoted bank.
 *
 * @throws MetabindError VERIFY_REPLAY
 */
export function requireReplayed(replayed: ReplayedLogs, demanded: readonly number[]): void {
  for (const [bank, values] of replayed.quoted) {
    for (const pcr of demanded) {
      if (!values.has(pcr)) refuse(replayed, `${bank} PCR ${pcr} is not quoted`)
      if (!isReplayed(replayed, bank, pcr)) refuse(replayed, `no log leads to ${bank} PCR ${pcr}`)
    }
  }
}

function isReplayed({ pcrs }: ReplayedLogs, bank: TpmHash['name'], pcr: number): boolean {
  return pcrs.some((each) => each.bank === bank && each.pcr === pcr)
}

/** What another log than the firmware's says from the start is no word for the firmware's. */
function isOwn({ pcrs }: ReplayedLogs, bank: TpmHash['name'], pcr: number): boolean {
  const found = pcrs.find((each) => each.bank === bank && each.pcr === pcr)
  return found?.events.every(({ log }) => log !== 'cel') === true
}

function refuse({ logs: { leftOut } }: ReplayedLogs, why: string): never {
  const said = leftOut.length === 0 ? '' : `; the instance has left out: ${leftOut.join(', ')}`
  throw new MetabindError('VERIFY_REPLAY', `Found: ${why}${said}.`)
}
