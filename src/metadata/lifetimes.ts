import type { DialectName } from '../dialect/dialect.ts'

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

export type LifetimeName = 'boot' | 'short' | 'brief' | 'credentials' | 'once'

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
  /** Its own Expiration decides (credentials.ts). */
  credentials: {
    freshSeconds: 0,
    staleSeconds: 0,
    absentFreshSeconds: 10,
    absentStaleSeconds: 3600,
  },
  /** Made for one question: never kept. */
  once: { freshSeconds: 0, staleSeconds: 0, absentFreshSeconds: 0, absentStaleSeconds: 0 },
}

/**
 * Below the version, what is not `short`. `*` stands for one segment, a last `**` for the path itself
 * and all below it. The first that fits decides.
 */
export type LifetimeTable = readonly (readonly [pattern: string, name: LifetimeName])[]

export const LIFETIME_TABLES: Readonly<Record<DialectName, LifetimeTable>> = {
  aliyun: [
    ['meta-data/instance-id', 'boot'],
    ['meta-data/serial-number', 'boot'],
    ['meta-data/owner-account-id', 'boot'],
    ['meta-data/region-id', 'boot'],
    ['meta-data/zone-id', 'boot'],
    ['meta-data/image-id', 'boot'],
    ['meta-data/mac', 'boot'],
    ['meta-data/network-type', 'boot'],
    ['meta-data/vpc-id', 'boot'],
    ['meta-data/vswitch-id', 'boot'],
    ['meta-data/instance/instance-type', 'boot'],
    ['meta-data/instance/virtualization-solution', 'boot'],
    ['meta-data/instance/virtualization-solution-version', 'boot'],
    ['meta-data/ram/security-credentials/*', 'credentials'],
    ['meta-data/network/interfaces/**', 'brief'],
    ['meta-data/sub-private-ipv4-list', 'brief'],
    ['meta-data/eipv4', 'brief'],
    ['meta-data/public-ipv4', 'brief'],
    ['meta-data/disks/**', 'brief'],
    ['meta-data/instance/spot/**', 'brief'],
    ['meta-data/instance/last-host-landing-time', 'brief'],
    // Holds the whole tree, so what is in it ends with the first of its parts.
    ['meta-data/all', 'brief'],
    ['maintenance/**', 'brief'],
  ],
  ec2: [
    ['meta-data/instance-id', 'boot'],
    ['meta-data/ami-id', 'boot'],
    ['meta-data/ami-launch-index', 'boot'],
    ['meta-data/instance-type', 'boot'],
    ['meta-data/mac', 'boot'],
    ['meta-data/placement/availability-zone', 'boot'],
    ['meta-data/placement/region', 'boot'],
    ['meta-data/reservation-id', 'boot'],
    ['meta-data/iam/security-credentials/*', 'credentials'],
    ['meta-data/identity-credentials/ec2/security-credentials/*', 'credentials'],
    ['meta-data/network/interfaces/**', 'brief'],
    ['meta-data/public-ipv4', 'brief'],
    ['meta-data/public-hostname', 'brief'],
    ['meta-data/managed-ssh-keys/**', 'brief'],
    ['meta-data/spot/**', 'brief'],
    ['meta-data/events/**', 'brief'],
    ['meta-data/autoscaling/**', 'brief'],
    ['meta-data/instance-action', 'brief'],
  ],
}

/** Which lifetime answers of a path have. */
export type LifetimeOf = (path: string, query: string | undefined) => LifetimeName

/** @param table see LIFETIME_TABLES */
export function lifetimesBy(table: LifetimeTable): LifetimeOf {
  const rules = table.map(([pattern, name]) => [patternOf(pattern), name] as const)
  return (path, query) => {
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
