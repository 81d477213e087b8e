import type { AuditRecord } from './audit.ts'

/** What became of token requests and tokens within one minute. */
interface TokenMinute {
  readonly issued: number
  readonly refused: number
}

/** How many tokens were issued and refused in each of the last minutes. */
export interface TokenRates {
  /** Looks at an audit record. */
  note(record: AuditRecord): void
  /** The present minute last. */
  perMinute(): readonly TokenMinute[]
}

export const MINUTES = 30
const MINUTE_MS = 60_000

/** @param clockMs a clock that never jumps */
export function tokenRates(clockMs: () => number): TokenRates {
  const issued = new Array<number>(MINUTES).fill(0)
  const refused = new Array<number>(MINUTES).fill(0)
  let lastMinute = 0
  /** Moves on to the present minute; those in between had nothing. */
  const present = (): number => {
    const minute = Math.floor(clockMs() / MINUTE_MS)
    for (let at = Math.max(lastMinute + 1, minute - MINUTES + 1); at <= minute; at += 1) {
      issued[at % MINUTES] = 0
      refused[at % MINUTES] = 0
    }
    lastMinute = minute
    return minute
  }
  const add = (counts: number[]): void => {
    const slot = present() % MINUTES
    counts[slot] = (counts[slot] ?? 0) + 1
  }
  return {
    note: ({ event }) => {
      if (event === 'token.issued') add(issued)
      else if (event === 'token.refused' || event === 'token.foreign') add(refused)
    },
    perMinute: () => {
      const minute = present()
      return Array.from({ length: MINUTES }, (_, at) => {
        const slot = (minute + 1 + at) % MINUTES
        return { issued: issued[slot] ?? 0, refused: refused[slot] ?? 0 }
      })
    },
  }
}
