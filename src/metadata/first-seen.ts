import { createHash } from 'node:crypto'

/** When credentials were first seen, whether or not they are still held: seeing them again prolongs nothing. */
export interface FirstSeen {
  /** Boot time in milliseconds at which these bytes were first seen; `nowMs` if they are new. */
  of(body: Buffer, nowMs: number): number
  /** All that is remembered, for an agent that is started again. */
  all(): FirstSeenRow[]
  restore(rows: readonly FirstSeenRow[]): void
}

/** The SHA-256 of credentials in hex, and when they were first seen. */
export type FirstSeenRow = readonly [digest: string, atMs: number]

// Those of a day and more; only the source makes new ones.
const REMEMBERED_MAX = 64

export function firstSeen(): FirstSeen {
  const seen = new Map<string, number>()
  const note = (digest: string, atMs: number): void => {
    // At the end again: what is seen again is forgotten last.
    seen.delete(digest)
    seen.set(digest, atMs)
    const [oldest] = seen.keys()
    if (seen.size > REMEMBERED_MAX && oldest !== undefined) seen.delete(oldest)
  }
  return {
    of: (body, nowMs) => {
      const digest = createHash('sha256').update(body).digest('hex')
      const atMs = seen.get(digest) ?? nowMs
      note(digest, atMs)
      return atMs
    },
    all: () => [...seen],
    restore: (rows) => {
      for (const [digest, atMs] of rows) if (!seen.has(digest)) note(digest, atMs)
    },
  }
}
