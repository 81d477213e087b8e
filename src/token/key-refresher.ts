import { MetabindError } from '../errors.ts'
import type { BoundKeys } from './keys.ts'

/** Keeps the token keys good while the agent runs, and stops the agent's trust when they are not. */
export interface KeyRefresher {
  /** Why tokens are neither issued nor accepted now; undefined while they are. */
  stoppedBecause(): MetabindError | undefined
  /** Checks now rather than at the next turn. */
  check(): Promise<void>
  end(): void
}

/** What the key refresher needs, and whom it tells. */
export interface KeyRefresherDeps {
  readonly keys: BoundKeys
  readonly recheckMs: number
  readonly bootTimeMs: () => number
  readonly onStopped: (why: MetabindError) => void
  readonly onResumed: () => void
}

// How often the clock is looked at. An epoch may end during a suspend, when no timer runs.
const TURN_MS = 15_000
// A TPM that fails is asked again this soon before its failure counts: 1 s, 2 s.
const RETRY_MS = [1000, 2000]

/**
 * Proves at least every `recheckMs` that the same TPM is still there, and derives keys ahead of
 * their hour. Another TPM stops issuing and accepting at once; one that fails, after three tries.
 * Both are tried again at every turn, and the agent resumes when the first TPM answers again.
 */
export function keyRefresher(deps: KeyRefresherDeps): KeyRefresher {
  let stopped: MetabindError | undefined
  let provenAtMs = deps.bootTimeMs()
  let checking: Promise<void> | undefined
  let ended = false

  const turnMs = Math.min(TURN_MS, deps.recheckMs)
  // At the next turn it would be too late.
  const isDue = (): boolean =>
    stopped !== undefined ||
    !deps.keys.isCurrent() ||
    deps.bootTimeMs() - provenAtMs + turnMs >= deps.recheckMs

  const prove = async (): Promise<void> => {
    const failure = await tryRefresh(deps.keys, stopped === undefined ? RETRY_MS : [])
    if (ended) return
    if (failure === undefined) provenAtMs = deps.bootTimeMs()
    if (failure === undefined && stopped !== undefined) deps.onResumed()
    if (failure !== undefined && stopped?.code !== failure.code) deps.onStopped(failure)
    stopped = failure
  }
  const check = (): Promise<void> => {
    checking ??= prove().finally(() => {
      checking = undefined
    })
    return checking
  }
  const timer = setInterval(() => {
    if (isDue()) void check()
  }, turnMs)
  return {
    stoppedBecause: () => stopped,
    check,
    end: () => {
      ended = true
      clearInterval(timer)
    },
  }
}

async function tryRefresh(
  keys: BoundKeys,
  retriesMs: readonly number[],
): Promise<MetabindError | undefined> {
  for (const waitMs of [...retriesMs, undefined]) {
    try {
      await keys.refresh()
      return undefined
    } catch (error) {
      const failure =
        error instanceof MetabindError ? error : new MetabindError('INTERNAL', undefined, error)
      if (failure.code === 'TPM_OTHER' || waitMs === undefined) return failure
      await new Promise((resolve) => setTimeout(resolve, waitMs))
    }
  }
  return undefined
}
