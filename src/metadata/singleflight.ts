import { MetabindError } from '../errors.ts'

/** One read upstream, shared by all who want its answer. */
export interface Flight<Answer> {
  /** Rejects with SOURCE_DOWN if it takes longer than anybody is made to wait. */
  readonly landed: Promise<Answer>
  /** As `landed`, but undefined once it has taken too long for somebody who has an old answer. */
  readonly soon: Promise<Answer | undefined>
}

/** The reads under way: never two of one target. */
export interface Singleflight<Answer> {
  underWay(target: string): Flight<Answer> | undefined
  launch(target: string, asking: Promise<Answer>): Flight<Answer>
  readonly count: number
}

/** How long a reader of a stale value waits for a newer one. */
export const SOON_MS = 250

/** @param withinMs no reader waits longer; SDKs give up after 1,000 ms */
export function singleflight<Answer>(withinMs: number): Singleflight<Answer> {
  const flights = new Map<string, Flight<Answer>>()
  return {
    underWay: (target) => flights.get(target),
    launch: (target, asking) => {
      const landed = within(asking, withinMs, refuseToWait)
      const soon = within<Answer | undefined>(landed, SOON_MS, () => undefined)
      // Whoever awaits one of them hears of it; that nobody awaits the other is no fault.
      for (const watched of [landed, soon]) watched.catch(() => undefined)
      flights.set(target, { landed, soon })
      // Not when `landed` is: an answer that is late is still on its way, and is not asked for twice.
      const gone = () => void flights.delete(target)
      asking.then(gone, gone)
      return { landed, soon }
    },
    get count() {
      return flights.size
    },
  }
}

function refuseToWait(): never {
  throw new MetabindError('SOURCE_DOWN', undefined, new Error('no answer in time'))
}

/** What `promise` gives within `ms`; after that what `late` gives or throws. */
function within<T>(promise: Promise<T>, ms: number, late: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = (): void => {
      try {
        resolve(late())
      } catch (error) {
        reject(error)
      }
    }
    const timer = setTimeout(giveUp, ms)
    promise.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
