import type { Audit } from '../audit/audit.ts'
import type { Caller } from '../caller/caller.ts'
import { MetabindError } from '../errors.ts'
import { decide, type Policy } from './policy.ts'

/** Stands between callers and what they ask for. */
export interface Gate {
  /**
   * Lets a caller read a path, or not, and records what was refused or would have been.
   *
   * @param path canonical
   * @throws MetabindError POLICY_DENIED
   */
  permit(caller: Caller, path: string): void
  /** Records that a caller got what is at a path: what `metabind policy suggest` learns from. */
  seen(caller: Caller, path: string): void
}

// Distinct callers and paths remembered as seen. Beyond it, forgetting costs a second record.
const SEEN_MAX = 4096

/** @param policy the one in force; asked at each request, so that a reload counts at once */
export function gate(policy: () => Policy, audit: Audit): Gate {
  let seenUnder: Policy | undefined
  const seen = new Set<string>()
  return {
    permit: (caller, path) => {
      const { mode } = policy()
      const { allowed, rule, why } = decide(policy(), caller, path)
      if (allowed) return
      const enforced = mode === 'enforce'
      const event = enforced ? 'policy.refused' : 'policy.would-refuse'
      audit({ event, code: 'POLICY_DENIED', caller, path, rule, detail: why })
      if (enforced) throw new MetabindError('POLICY_DENIED', why)
    },
    seen: (caller, path) => {
      if (policy().mode !== 'audit') return
      if (seenUnder !== policy() || seen.size >= SEEN_MAX) seen.clear()
      seenUnder = policy()
      const key = `${caller.uid} ${caller.unit} ${caller.container} ${caller.namespaces} ${path}`
      if (seen.has(key)) return
      seen.add(key)
      audit({ event: 'policy.seen', caller, path })
    },
  }
}
