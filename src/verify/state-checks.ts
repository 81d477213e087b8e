import { replayEventLog } from '../format/event-log.ts'
import { hashAlgorithm, tpmHash } from '../format/tpm-algorithms.ts'
import { type Check, refuseUnless } from './check.ts'
import { requireOneRun, requireProgress } from './clock.ts'
import { requirePcrPolicy } from './pcr-policy.ts'
import type { Subject } from './subject.ts'

/**
 * PCRs that only firmware extends. Boot loader and operating system go on extending the others, and
 * keep logs of their own.
 */
export const EVENT_LOG_PCRS: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7]

/** What state the TPM and the machine are in. The PCR values were found to be the quoted ones. */
export const STATE_CHECKS: readonly Check[] = [
  { name: 'clock', codes: ['VERIFY_CLOCK'], run: checkClock },
  { name: 'event log', codes: ['VERIFY_EVENT_LOG'], run: checkEventLog },
  {
    name: 'PCR policy',
    codes: ['VERIFY_PCR_POLICY'],
    run: ({ shownPcrs, demands: { pcrPolicy } }) => {
      if (pcrPolicy !== undefined) requirePcrPolicy(pcrPolicy, shownPcrs)
    },
  },
]

function checkClock({ quote, certified, ak, demands: { lastClock } }: Subject): void {
  const { clock } = quote.attest
  requireOneRun([clock, ...certified.map(({ attestation }) => attestation.attest.clock)])
  if (lastClock?.akName === ak.name.toString('hex')) requireProgress(lastClock, clock)
}

/** A PCR without events must have its first value: events cannot be left out of the log. */
function checkEventLog({ evidence, shownPcrs }: Subject): void {
  if (evidence.eventLog === undefined) return
  const replayed = replayEventLog(evidence.eventLog)
  for (const [bank, values] of shownPcrs) {
    const untouched = Buffer.alloc(tpmHash(hashAlgorithm(bank))?.bytes ?? 0)
    for (const pcr of EVENT_LOG_PCRS) {
      const shown = values.get(pcr)
      const wanted = replayed.get(bank)?.get(pcr) ?? untouched
      const isSame = shown === undefined || shown.equals(wanted)
      refuseUnless(isSame, 'VERIFY_EVENT_LOG', `Found: ${bank} PCR ${pcr}.`)
    }
  }
}
