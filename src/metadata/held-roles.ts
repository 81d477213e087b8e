import type { Entry } from './freshness.ts'
import type { LifetimeOf } from './lifetimes.ts'
import { ofPath } from './target.ts'

/**
 * Paths of held credentials that an answer speaks against: the list of roles does not name theirs, or
 * the role is no more under another version. The cloud does not take them back, so nothing else would
 * tell until their refresh, which may be hours away.
 *
 * @param path what was asked for
 * @param answer what the source said
 * @param held what is in memory, credentials among it
 */
export function contradictedBy(
  path: string,
  answer: Entry,
  lifetimeOf: LifetimeOf,
  held: () => readonly (readonly [path: string, entry: Entry])[],
): string[] {
  const isGone = goneBy(path, answer, lifetimeOf)
  if (isGone === undefined) return []
  return held()
    .filter(([one, { credentials }]) => credentials !== undefined && isGone(one))
    .map(([one]) => one)
}

/** Where the list of roles is that must name the role of these credentials. */
export function roleListOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'))
}

/** Whether credentials are gone by an answer; undefined if it says nothing of any. */
function goneBy(
  path: string,
  { item }: Entry,
  lifetimeOf: LifetimeOf,
): ((path: string) => boolean) | undefined {
  const place = inVersion(path)
  if (lifetimeOf(ofPath(`${path}/*`)) === 'credentials') {
    const lines = item?.body.toString('utf8').split('\n') ?? []
    const named = new Set(lines.map((line) => `${place}/${line.trim()}`))
    return (held) => inVersion(roleListOf(held)) === place && !named.has(inVersion(held))
  }
  if (item !== undefined || lifetimeOf(ofPath(path)) !== 'credentials') return undefined
  return (held) => inVersion(held) === place
}

function inVersion(path: string): string {
  return path.slice(path.indexOf('/', 1) + 1)
}
