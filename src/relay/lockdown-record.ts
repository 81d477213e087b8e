import { z } from 'zod'
import type { Audit } from '../audit/audit.ts'
import type { Caller } from '../caller/caller.ts'

/**
 * What the agent knows of lockdown. It may not look at firewall rules, let alone change them: the
 * command that changed them tells it, and redirected connections show that they are there.
 */

type Mode = 'enforce' | 'observe'

const FOR_SECONDS_MAX = 7 * 24 * 3600

/** A change that has been made to the rules. */
export const lockdownBody = z.discriminatedUnion('change', [
  z.strictObject({
    change: z.literal('on'),
    mode: z.enum(['enforce', 'observe']),
    containers: z.enum(['refuse', 'leave', 'redirect']),
    forSeconds: z.int().min(1).max(FOR_SECONDS_MAX).optional(),
  }),
  z.strictObject({ change: z.literal('confirm') }),
  z.strictObject({ change: z.literal('off') }),
])
type Change = z.infer<typeof lockdownBody>

/** What the agent can say about lockdown. */
export interface LockdownKnown {
  /** `unknown`: nobody has told since the agent started, and nothing was redirected to it. */
  readonly state: Mode | 'off' | 'unknown'
  /** UTC, ISO 8601. */
  readonly since?: string
  /** When the kernel rolls back unless it is confirmed. */
  readonly until?: string
  /** Connections that rules brought here since the agent started. */
  readonly redirected: number
}

export interface LockdownRecord {
  /** Records a change, with whoever told of it. */
  told(change: Change, caller: Caller): void
  /** A connection came that a rule had redirected. */
  redirected(mode: Mode): void
  known(): LockdownKnown
}

/** @param clockMs of the wall */
export function lockdownRecord(audit: Audit, clockMs: () => number): LockdownRecord {
  let known: Omit<LockdownKnown, 'redirected'> = { state: 'unknown' }
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

function inWords(change: Change): string | undefined {
  if (change.change === 'off') return undefined
  if (change.change === 'confirm') return 'confirmed: it does not roll back'
  const end = change.forSeconds === undefined ? '' : `, for ${change.forSeconds} s unless confirmed`
  const containers = change.mode === 'observe' ? '' : `, containers: ${change.containers}`
  return `${change.mode}${containers}${end}`
}
