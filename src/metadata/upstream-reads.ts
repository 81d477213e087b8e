import type { RefusedRole } from '../admin-api.ts'
import { MetabindError } from '../errors.ts'
import { backoff } from './backoff.ts'
import type { Cache } from './cache.ts'
import type { Entry } from './freshness.ts'
import { type OutcomeDeps, outcomesIn } from './outcomes.ts'
import { type Flight, singleflight } from './singleflight.ts'
import type { Source } from './source.ts'
import { keyOf, ofPath, type Target } from './target.ts'

/** What reads upstream work with. */
export interface UpstreamDeps extends OutcomeDeps {
  readonly source: Source
  /** No reader waits longer for the source. SDKs give up after 1,000 ms. */
  readonly answerWithinMs: number
}

/** Counted since the start. */
export interface UpstreamState {
  readonly upstreamReads: number
  readonly upstreamFailures: number
  /** Now, late ones included. */
  readonly upstreamUnderWay: number
  readonly sourceIsDown: boolean
  /** Roles that the cloud gives no credentials for. */
  readonly refusedRoles: readonly RefusedRole[]
}

/** Reads upstream: what they bring goes into the store, whoever waits for it. */
export interface UpstreamReads {
  isUnderWay(target: Target): boolean
  /** The read under way, or a new one. */
  ask(target: Target): Flight<Entry>
  /**
   * As ask; undefined while failures of late hold it back.
   *
   * @param hasOld whether an old answer can be given instead; the source is then asked more seldom
   */
  askUnlessHeld(target: Target, hasOld: boolean): Flight<Entry> | undefined
  /** Whether it would be held back, for somebody who has no old answer. */
  isHeld(target: Target): boolean
  /** Why it is held back. */
  reason(target: Target): MetabindError
  readonly state: UpstreamState
}

export function upstreamReads(store: Cache<Entry>, deps: UpstreamDeps): UpstreamReads {
  const { source, clocks } = deps
  const flights = singleflight<Entry>(deps.answerWithinMs)
  const failures = backoff(clocks.bootTimeMs, clocks.random)
  const outcomes = outcomesIn(
    store,
    failures,
    deps,
    (path) => void askUnlessHeld(ofPath(path), true),
  )
  const counted = { upstreamReads: 0, upstreamFailures: 0 }

  const read = async (target: Target): Promise<Entry> =>
    outcomes.answered(target, await source.read(target).catch(absentAsUndefined))
  const launch = (target: Target): Flight<Entry> => {
    counted.upstreamReads += 1
    const flight = flights.launch(keyOf(target), read(target))
    flight.landed.catch((error: unknown) => {
      counted.upstreamFailures += 1
      outcomes.failed(target, error)
    })
    return flight
  }
  const ask = (target: Target): Flight<Entry> => flights.underWay(keyOf(target)) ?? launch(target)
  const askUnlessHeld = (target: Target, hasOld: boolean): Flight<Entry> | undefined =>
    flights.underWay(keyOf(target)) ??
    (failures.mayAsk(keyOf(target), hasOld) ? launch(target) : undefined)

  return {
    isUnderWay: (target) => flights.underWay(keyOf(target)) !== undefined,
    ask,
    askUnlessHeld,
    isHeld: (target) => failures.isHeldBack(keyOf(target), false),
    reason: (target) => failures.reason(keyOf(target)),
    get state() {
      const now = { upstreamUnderWay: flights.count, sourceIsDown: failures.isDown }
      return { ...counted, ...now, refusedRoles: outcomes.refusedRoles() }
    },
  }
}

function absentAsUndefined(error: unknown): undefined {
  if (!(error instanceof MetabindError) || error.code !== 'METADATA_ABSENT') throw error
}
