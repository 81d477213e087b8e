import { MetabindError } from '../errors.ts'

/** What has failed lately, so that a source in trouble is asked little and its callers wait little. */
export interface Backoff {
  /**
   * Whether failures of late keep the source from being asked for this.
   *
   * @param hasOld whether an old answer can be given instead; the wait then grows with each failure
   */
  isHeldBack(target: string, hasOld: boolean): boolean
  /**
   * Whether to ask the source for this now, which isHeldBack says. A yes must be followed by `answered` or `failed`: while
   * the source is down it is given to one reader at a time.
   */
  mayAsk(target: string, hasOld: boolean): boolean
  /** Why not, after mayAsk said no: what its last read failed with. */
  reason(target: string): MetabindError
  /** The source spoke: with a value, with 404, or with an error of this target alone. */
  answered(target: string): void
  /**
   * @param silent whether nothing came at all: no connection, or no answer in time
   * @returns what the target had failed with before, if it has not been answered since
   */
  failed(target: string, error: MetabindError, silent: boolean): MetabindError | undefined
  /** Whether the source as a whole is held to be down. */
  readonly isDown: boolean
}

interface Failure {
  readonly error: MetabindError
  readonly count: number
  readonly atMs: number
  /** From 0.75 to 1.25: readers and instances do not come back in step. */
  readonly spread: number
}

/** A failure is remembered this long before a reader who has nothing else causes another try. */
export const BACKOFF_MS = 1000
/** The longest wait between tries while an old answer serves. */
export const BACKOFF_MS_MAX = 15_000
// Any caller can ask for any number of paths that fail.
const TARGETS_MAX = 1024

/**
 * One path that fails is held back by itself. When two paths in a row meet silence, the source is
 * down, and all paths are held back together; one reader at a time then tries whether it is back.
 *
 * @param nowMs a clock that never goes back
 * @param random from 0 to 1
 */
export function backoff(nowMs: () => number, random: () => number): Backoff {
  const targets = new Map<string, Failure>()
  let source: Failure | undefined
  let silentTarget: string | undefined
  let isProbing = false

  const next = (before: Failure | undefined, error: MetabindError): Failure => ({
    error,
    count: (before?.count ?? 0) + 1,
    atMs: nowMs(),
    spread: 0.75 + random() / 2,
  })
  const holds = (failure: Failure | undefined, hasOld: boolean): boolean =>
    failure !== undefined && nowMs() - failure.atMs < holdMs(failure, hasOld)

  const isHeldBack = (target: string, hasOld: boolean): boolean =>
    holds(targets.get(target), hasOld) || holds(source, hasOld) || isProbing

  return {
    isHeldBack,
    mayAsk: (target, hasOld) => {
      if (isHeldBack(target, hasOld)) return false
      isProbing = source !== undefined
      return true
    },
    reason: (target) =>
      source?.error ?? targets.get(target)?.error ?? new MetabindError('SOURCE_DOWN'),
    answered: (target) => {
      targets.delete(target)
      source = undefined
      silentTarget = undefined
      isProbing = false
    },
    failed: (target, error, silent) => {
      const before = targets.get(target)
      targets.delete(target)
      targets.set(target, next(before, error))
      if (targets.size > TARGETS_MAX) targets.delete(targets.keys().next().value ?? target)
      isProbing = false
      const isDown = silent && (source !== undefined || (silentTarget ?? target) !== target)
      if (isDown) source = next(source, error)
      else if (!silent) source = undefined
      silentTarget = silent ? target : undefined
      return before?.error
    },
    get isDown() {
      return source !== undefined
    },
  }
}

function holdMs(failure: Failure, hasOld: boolean): number {
  const ms = hasOld ? Math.min(BACKOFF_MS * 2 ** (failure.count - 1), BACKOFF_MS_MAX) : BACKOFF_MS
  return ms * failure.spread
}
