import { causeChain, MetabindError } from '../errors.ts'
import type { AuditTrail } from './audit-trail.ts'

/** How an agent ends. */
export interface Ending {
  /** Whether what is under way is answered first. */
  readonly answering: boolean
  /** What it cannot go on with; left out if it was told to end. */
  readonly why?: unknown
}

/** What there is to end. */
export interface EndingDeps {
  /** Answers what is under way, then closes. */
  closeServers(): Promise<unknown>
  readonly trail: AuditTrail
  /** What needs no waiting. */
  readonly ends: readonly (() => void)[]
  readonly closes: readonly (() => Promise<void>)[]
  /** Told what a step failed with. */
  onFault(error: unknown): void
}

// Together less than TimeoutStopSec of the unit. A request has five seconds to arrive, by default, and the source one to answer.
// A caller that reads no answer is waited for as long, and no longer.
const ANSWERING_MS_MAX = 6000
// The last checkpoint has three seconds of these: the TPM may be what the agent ends for.
const RECORDS_MS_MAX = 4000
const CLOSING_MS_MAX = 1000

/**
 * Takes the steps of ending in their order. One that fails, or is late, keeps none of those behind it
 * from being taken: the last records are written, whoever waits for whatever never answers.
 */
export async function endInSteps({ answering, why }: Ending, deps: EndingDeps): Promise<void> {
  const step = async (withinMs: number, take: () => unknown): Promise<void> => {
    const late = Promise.withResolvers<void>()
    const timer = setTimeout(late.resolve, withinMs)
    const taken = (async () => void (await take()))().catch(deps.onFault)
    await Promise.race([taken, late.promise])
    clearTimeout(timer)
  }
  await step(answering ? ANSWERING_MS_MAX : 0, deps.closeServers)
  await step(RECORDS_MS_MAX, () => closeTrail(deps.trail, why))
  for (const end of deps.ends) await step(CLOSING_MS_MAX, end)
  await step(CLOSING_MS_MAX, () => Promise.allSettled(deps.closes.map((close) => close())))
}

function closeTrail(trail: AuditTrail, why: unknown): Promise<void> {
  const code = why instanceof MetabindError ? why.code : 'INTERNAL'
  const cause = why === undefined ? {} : { code, detail: causeChain(why) }
  return trail.close({ event: 'agent.ended', ...cause })
}
