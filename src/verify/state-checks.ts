import { requireFirmwareLog, requireReplayed } from '../measurements/replayed-logs.ts'
import { requireRevision } from '../measurements/trusted-policy.ts'
import type { Check } from './check.ts'
import { requireOneRun } from './clock.ts'
import { findAnchor } from './endorsement.ts'
import { policyFindings } from './policy-findings.ts'
import { requireContinuity } from './record.ts'
import type { Subject } from './subject.ts'
import { recordOf } from './verified.ts'

/** What state the TPM and the machine are in. The PCR values were found to be the quoted ones. */
export const STATE_CHECKS: readonly Check[] = [
  { name: 'clock', codes: ['VERIFY_CLOCK'], run: checkClock },
  {
    name: 'event log',
    codes: ['VERIFY_EVENT_LOG'],
    run: ({ replayedLogs }) => requireFirmwareLog(replayedLogs()),
  },
  {
    name: 'replayed PCRs',
    codes: ['VERIFY_REPLAY'],
    run: ({ replayedLogs, demands: { replayed } }) => requireReplayed(replayedLogs(), replayed),
  },
  {
    name: 'PCR policy',
    codes: ['VERIFY_PCR_POLICY', 'VERIFY_POLICY_REVISION'],
    run: (subject) => {
      const { pcrPolicy, last } = subject.demands
      if (pcrPolicy !== undefined) requireRevision(pcrPolicy.revision, last?.policyRevision ?? 0)
      policyFindings(subject)
    },
  },
  {
    name: 'continuity',
    codes: ['VERIFY_RECORD', 'VERIFY_REINSTALLED', 'VERIFY_CLONED', 'VERIFY_ROLLED_BACK'],
    run: (subject) => {
      const { last } = subject.demands
      if (last === undefined) return
      const { safe } = subject.quote.attest.clock
      requireContinuity(last, { ...recordOf(subject, findAnchor(subject)), safe })
    },
  },
]

function checkClock({ quote, certified }: Subject): void {
  requireOneRun(
    [quote, ...certified.map(({ attestation }) => attestation)].map(({ attest }) => attest.clock),
  )
}
