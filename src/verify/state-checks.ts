import type { Check } from './check.ts'
import { requireOneRun, requireProgress } from './clock.ts'
import { requireFirmwareLog } from './firmware-log.ts'
import { requirePcrPolicy } from './pcr-policy.ts'
import type { Subject } from './subject.ts'

/** What state the TPM and the machine are in. The PCR values were found to be the quoted ones. */
export const STATE_CHECKS: readonly Check[] = [
  { name: 'clock', codes: ['VERIFY_CLOCK'], run: checkClock },
  {
    name: 'event log',
    codes: ['VERIFY_EVENT_LOG'],
    run: ({ evidence: { eventLog }, shownPcrs }) => {
      if (eventLog !== undefined) requireFirmwareLog(eventLog, shownPcrs)
    },
  },
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
