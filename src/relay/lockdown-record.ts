import type { LockdownChange, LockdownKnown } from '../admin-api.ts'
import type { Audit } from '../audit/audit.ts'
import type { Caller } from '../caller/caller.ts'

/**
 * What the agent knows of lockdown. It may not look at firewall rules, let alone change them: the
 * command that changed them tells it, and redirected connections show that they are there.
 */

type Mode = 'enforce' | 'observe'

interface Known extends LockdownKnown {
  readonly state: Mode | 'off' | 'unknown'
}

export interface LockdownRecord {
  /** Records a change, with whoever told of it. */
  told(change: LockdownChange, caller: Caller): void
  /** A connection came that a rule had redirected. */
  redirected(mode: Mode): void
  known(): LockdownKnown
}

/** @param clockMs of the wall */
export function lockdownRecord(audit: Audit, clockMs: () => number): LockdownRecord {
  let known: Omit<Known, 'redirected'> = { state: 'unknown' }
  let redirected = 0
  let rollback: NodeJS.Timeout | undefined
  const inMs = (ms: number) => new Date(clockMs() + ms).toISOString()
  const become = (state: Mode | 'off'): void => {
    clearTimeout(rollback)
    known = { state, since: inMs(0) }
  }
  // The kernel's timeout and this one run on the same clock, and both stand still in a suspend.
  const rollBackAfter = (seconds: number): void => {
    known = { ...known, until: inMs(seconds * 1000) }
    rollback = setTimeout(() => {
      become('off')
      audit({ event: 'lockdown.off', detail: `rolled back: not confirmed within ${seconds} s` })
    }, seconds * 1000).unref()
  }
  return {
    told: (change, caller) => {
      if (change.change === 'on') {
        become(change.mode)
        if (change.forSeconds !== undefined) rollBackAfter(change.forSeconds)
      } else if (change.change === 'off') become('off')
      else {
        clearTimeout(rollback)
        const { until: _over, ...kept } = known
        known = kept
      }
      const event = change.change === 'off' ? 'lockdown.off' : 'lockdown.on'
      audit({ event, caller, detail: inWords(change) })
    },
    redirected: (mode) => {
      redirected += 1
      if (known.state !== 'unknown') return
      become(mode)
      audit({ event: 'lockdown.on', detail: `${mode}: seen by a redirected connection` })
    },
    known: () => ({ ...known, redirected }),
  }
}

function inWords(change: LockdownChange): string | undefined {
  if (change.change === 'off') return undefined
  if (change.change === 'confirm') return 'confirmed: it does not roll back'
  const end = change.forSeconds === undefined ? '' : `, for ${change.forSeconds} s unless confirmed`
  const containers = change.mode === 'observe' ? '' : `, containers: ${change.containers}`
  return `${change.mode}${containers}${end}`
}
