import type { Entry } from './freshness.ts'
import type { LifetimeOf } from './lifetimes.ts'

/**
 * Paths of held credentials that an answer speaks against: the list of roles does not name theirs, or
 * the role is no more under another version. The cloud does not take them back, so nothing else would
 * tell until their refresh, which may be hours away.
 *
 * @param target what was asked for
 * @param answer what the source said
 * @param held what is in memory, credentials among it
 */
export function contradictedBy(
  target: string,
  answer: Entry,
  lifetimeOf: LifetimeOf,
  held: () => readonly (readonly [path: string, entry: Entry])[],
): string[] {
  const isGone = goneBy(target, answer, lifetimeOf)
  if (isGone === undefined) return []
  return held()
    .filter(([path, { credentials }]) => credentials !== undefined && isGone(path))
    .map(([path]) => path)
}

/** Where the list of roles is that must name the role of these credentials. */
export function roleListOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'))
}

/** Whether credentials are gone by an answer; undefined if it says nothing of any. */
function goneBy(
  target: string,
  { item }: Entry,
  lifetimeOf: LifetimeOf,
): ((path: string) => boolean) | undefined {
  const place = inVersion(target)
  if (lifetimeOf(`${target}/*`, undefined) === 'credentials') {
    const lines = item?.body.toString('utf8').split('\n') ?? []
    const named = new Set(lines.map((line) => `${place}/${line.trim()}`))
    return (path) => inVersion(roleListOf(path)) === place && !named.has(inVersion(path))
  }
  if (item !== undefined || lifetimeOf(target, undefined) !== 'credentials') return undefined
  return (path) => inVersion(path) === place
}

function inVersion(path: string): string {
  return path.slice(path.indexOf('/', 1) + 1)
}
