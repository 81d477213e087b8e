import type { LifetimeName, LifetimeTable } from '../dialect/dialect.ts'
import type { Target } from './target.ts'

/** How long an answer of one kind is used. docs/caching.md has these numbers; a test compares them. */
export interface Lifetime {
  /** Served without asking the source. Up to a fifth less, by lot, so that paths do not age together. */
  readonly freshSeconds: number
  /** Served, marked stale, while the source gives nothing better: this long after it was read. */
  readonly staleSeconds: number
  /** The same two for the answer that there is no such path. */
  readonly absentFreshSeconds: number
  readonly absentStaleSeconds: number
}

export const LIFETIMES: Readonly<Record<LifetimeName, Lifetime>> = {
  /** Changes only while the instance is stopped. */
  boot: {
    freshSeconds: Number.POSITIVE_INFINITY,
    staleSeconds: Number.POSITIVE_INFINITY,
    absentFreshSeconds: 10,
    absentStaleSeconds: 3600,
  },
  /** May change at any time, and nobody is harmed by hearing of it half a minute late. */
  short: {
    freshSeconds: 30,
    staleSeconds: 86_400,
    absentFreshSeconds: 10,
    absentStaleSeconds: 3600,
  },
  /** Somebody polls it, and gives up or must act soon: an old answer is worse than none. */
  brief: { freshSeconds: 2, staleSeconds: 60, absentFreshSeconds: 2, absentStaleSeconds: 60 },
  /** Its own Expiration decides (credential-times.ts). */
  credentials: {
    freshSeconds: 0,
    staleSeconds: 0,
    absentFreshSeconds: 10,
    absentStaleSeconds: 3600,
  },
  /** Made for one question: never cached. */
  once: { freshSeconds: 0, staleSeconds: 0, absentFreshSeconds: 0, absentStaleSeconds: 0 },
}

/** Which lifetime answers of a path have. */
export type LifetimeOf = (target: Target) => LifetimeName

/** @param table of a dialect */
export function lifetimesBy(table: LifetimeTable): LifetimeOf {
  const rules = table.map(([pattern, name]) => [patternOf(pattern), name] as const)
  return ({ path, query }) => {
    // An audience is a question of its own: its answer is a fresh signature or worth nothing.
    if (query !== undefined) return 'once'
    const inVersion = path.split('/').slice(2).join('/')
    return rules.find(([pattern]) => pattern.test(inVersion))?.[1] ?? 'short'
  }
}

/** What a pattern of a LifetimeTable fits. */
export function patternOf(pattern: string): RegExp {
  const below = pattern.endsWith('/**')
  const segments = (below ? pattern.slice(0, -3) : pattern).split('/')
  const source = segments.map((segment) => (segment === '*' ? '[^/]+' : segment)).join('/')
  return new RegExp(`^${source}${below ? '(/.*)?' : ''}$`)
}
