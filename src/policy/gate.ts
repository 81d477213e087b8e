import type { Audit } from '../audit/audit.ts'
import type { Caller } from '../caller/caller.ts'
import { requireRead } from '../caller/shown.ts'
import { MetabindError } from '../errors.ts'
import { targetFor } from './audience.ts'
import {
  type Decision,
  decide,
  decideProof,
  isSecret,
  type Policy,
  type ProofAsked,
} from './policy.ts'
import type { Readers, Sighting } from './readers.ts'

/** Stands between callers and what they ask for. */
export interface Gate {
  /**
   * Lets a caller read a path, or not, and records what was refused or would have been.
   *
   * @param path canonical
   * @param audience of a path that takes one
   * @throws MetabindError POLICY_DENIED
   */
  permit(caller: Caller, path: string, audience?: string): void
  /**
   * The same again when the answer is there, which had to be waited for: another policy may be in force by then. It
   * counts one read.
   *
   * @throws MetabindError POLICY_DENIED
   */
  permitStill(caller: Caller, path: string, audience?: string): void
  /**
   * Lets a caller have a proof, or not, in either mode: what was never to be had needs no learning. Records what was refused.
   *
   * @param path that it was asked for at
   * @returns what decided
   * @throws MetabindError PROOF_DENIED, CALLER_UNKNOWN
   */
  permitProof(caller: Caller, asked: ProofAsked, path: string): Decision
  /** The same again when it is signed. @throws MetabindError PROOF_DENIED */
  permitProofStill(caller: Caller, asked: ProofAsked, path: string): void
  /** Whether a path is one that only root reads if no rule says otherwise. */
  isSecret(caller: Caller, path: string): boolean
  /** Records that a caller got what is at a path: what `metabind policy suggest` learns from. */
  seen(caller: Caller, path: string, audience?: string): void
}

// Distinct callers and paths remembered as seen. Beyond it, forgetting costs a second record.
const SEEN_MAX = 4096

/** What was found last for a caller. It goes with its connection, and counts for no other policy or path. */
interface Verdict {
  readonly policy: Policy
  readonly path: string
  readonly audience: string | undefined
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
  const verdict = (caller: Remembering, path: string, audience?: string): Verdict => {
    const known = caller[VERDICT]
    const isSame = known?.path === path && known.audience === audience
    if (isSame && known.policy === policy()) return known
    const found = find(policy(), caller, path, audience, readers)
    if (path.length <= REMEMBERED_CHARACTERS_MAX) caller[VERDICT] = found
    return found
  }
  const permit = (caller: Caller, path: string, audience?: string): void => {
    const { decision, sighting } = verdict(caller, path, audience)
    const { allowed, rule, why } = decision
    if (allowed) {
      readers.count(sighting, 'allowed')
      return
    }
    const enforced = policy().mode === 'enforce'
    readers.count(sighting, enforced ? 'refused' : 'would-refuse')
    const event = enforced ? 'policy.refused' : 'policy.would-refuse'
    audit({ event, code: 'POLICY_DENIED', caller, path, ...of(audience), rule, detail: why })
    if (enforced) throw new MetabindError('POLICY_DENIED', why)
  }
  const permitProof = (caller: Caller, asked: ProofAsked, path: string): Decision => {
    requireRead(caller)
    const decision = decideProof(policy(), caller, asked)
    const { allowed, rule, why } = decision
    readers.count(readers.sighting(caller, path, true), allowed ? 'allowed' : 'refused')
    if (allowed) return decision
    const detail = `${why}: ${asked.method ?? 'any method'} ${asked.url.text}`
    audit({ event: 'policy.refused', code: 'PROOF_DENIED', caller, path, rule, detail })
    throw new MetabindError('PROOF_DENIED', why)
  }
  return {
    permitProof,
    permitProofStill: (caller, asked, path) => {
      if (!decideProof(policy(), caller, asked).allowed) permitProof(caller, asked, path)
    },
    permit,
    permitStill: (caller, path, audience) => {
      if (policy().mode !== 'enforce' || verdict(caller, path, audience).decision.allowed) return
      permit(caller, path, audience)
    },
    isSecret: (caller, path) => verdict(caller, path).isSecret,
    seen: (caller, path, audience) => {
      if (policy().mode !== 'audit') return
      if (seenUnder !== policy() || seen.size >= SEEN_MAX) seen.clear()
      seenUnder = policy()
      const key = `${caller.uid} ${caller.unit} ${caller.container} ${caller.namespaces} ${targetFor(path, audience)}`
      if (seen.has(key)) return
      seen.add(key)
      audit({ event: 'policy.seen', caller, path, ...of(audience) })
    },
  }
}

function of(audience: string | undefined): { readonly audience?: string } {
  return audience === undefined ? {} : { audience }
}

function find(
  policy: Policy,
  caller: Caller,
  path: string,
  audience: string | undefined,
  readers: Readers,
): Verdict {
  const decision = decide(policy, caller, path, audience)
  const secret = isSecret(policy, path)
  // Its process may have ended when the answer is there, and with it what the record says of it.
  if (secret || policy.mode === 'audit') requireRead(caller)
  const sighting = readers.sighting(caller, targetFor(path, audience), secret)
  return { policy, path, audience, decision, isSecret: secret, sighting }
}
