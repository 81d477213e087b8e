import type { Audit } from '../audit/audit.ts'
import { type InstanceChange, isRemarkable } from '../identity/instance-record.ts'
import type { BoundKeys } from '../token/keys.ts'
import type { ReadyState } from './startup.ts'

/**
 * Token keys whose refresh also looks whether this is still the same machine: a cleared TPM,
 * counters that went back or a restored snapshot lead to a new self-test, and a failed one stops
 * the agent as a failed refresh does. The test is owed until it passes: the next look finds no
 * change any more.
 *
 * @param onPassed told when such a test has passed
 */
export function withInstanceWatch(
  { tokenKeys, continuity, attester }: ReadyState,
  audit: Audit,
  onPassed: () => void,
): BoundKeys {
  let owesSelfTest = false
  return {
    ...tokenKeys,
    refresh: async () => {
      await tokenKeys.refresh()
      const change = await continuity.look()
      if (isRemarkable(change)) {
        owesSelfTest = true
        audit({ event: 'instance.changed', detail: changeInWords(change) })
      }
      if (!owesSelfTest) return
      await attester.selfTest()
      owesSelfTest = false
      audit({ event: 'self-test.passed' })
      onPassed()
    },
  }
}

/** What happened to the instance, for an audit record. */
export function changeInWords(change: InstanceChange): string {
  if (change.kind === 'tpm-changed') return `another TPM; the EK was ${change.ekName}`
  if (change.kind === 'instance-changed') return `another instance; it was ${change.instanceId}`
  return change.kind
}
