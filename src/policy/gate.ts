import type { Audit } from '../audit/audit.ts'
import type { Caller } from '../caller/caller.ts'
import { requireRead } from '../caller/shown.ts'
import { MetabindError } from '../errors.ts'
import { type Decision, decide, isSecret, type Policy } from './policy.ts'
import type { Readers, Sighting } from './readers.ts'

/** Stands between callers and what they ask for. */
export interface Gate {
  /**
   * Lets a caller read a path, or not, and records what was refused or would have been.
   *
   * @param path canonical
   * @throws MetabindError POLICY_DENIED
   */
  permit(caller: Caller, path: string): void
  /** Whether a path is one that only root reads if no rule says otherwise. */
  isSecret(caller: Caller, path: string): boolean
  /** Records that a caller got what is at a path: what `metabind policy suggest` learns from. */
  seen(caller: Caller, path: string): void
}

// Distinct callers and paths remembered as seen. Beyond it, forgetting costs a second record.
const SEEN_MAX = 4096

/** What was found last for a caller. It goes with its connection, and counts for no other policy or path. */
interface Verdict {
  readonly policy: Policy
  readonly path: string
  readonly decision: Decision
  readonly isSecret: boolean
  /** Where reads of it are counted. */
  readonly sighting: Sighting
}
const VERDICT = Symbol('verdict')
type Remembering = Caller & { [VERDICT]?: Verdict }
// Longer ones are found again each time: what is remembered of all connections has to fit the memory.
const REMEMBERED_CHARACTERS_MAX = 256

/** @param policy the one in force; asked at each request, so that a reload counts at once */
export function gate(policy: () => Policy, audit: Audit, readers: Readers): Gate {
  let seenUnder: Policy | undefined
  const seen = new Set<string>()
  const verdict = (caller: Remembering, path: string): Verdict => {
    const known = caller[VERDICT]
    if (known?.policy === policy() && known.path === path) return known
    const found = find(policy(), caller, path, readers)
    if (path.length <= REMEMBERED_CHARACTERS_MAX) caller[VERDICT] = found
    return found
  }
  return {
    permit: (caller, path) => {
      const { decision, sighting } = verdict(caller, path)
      const { allowed, rule, why } = decision
      if (allowed) return readers.count(sighting, 'allowed')
      const enforced = policy().mode === 'enforce'
      readers.count(sighting, enforced ? 'refused' : 'would-refuse')
      const event = enforced ? 'policy.refused' : 'policy.would-refuse'
      audit({ event, code: 'POLICY_DENIED', caller, path, rule, detail: why })
      if (enforced) throw new MetabindError('POLICY_DENIED', why)
    },
    isSecret: (caller, path) => verdict(caller, path).isSecret,
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

function find(policy: Policy, caller: Caller, path: string, readers: Readers): Verdict {
  const decision = decide(policy, caller, path)
  const secret = isSecret(policy, path)
  // Its process may have ended when the answer is there, and with it what the record says of it.
  if (secret || policy.mode === 'audit') requireRead(caller)
  const sighting = readers.sighting(caller, path, secret)
  return { policy, path, decision, isSecret: secret, sighting }
}
