import type { PathPattern, Pattern } from './pattern.ts'

/** What of a rule it is found by. */
export interface IndexedRule {
  readonly paths: readonly PathPattern[]
  readonly users?: ReadonlySet<number>
  readonly groups?: ReadonlySet<number>
  readonly units?: readonly Pattern[]
}

/** Who asks, as far as rules are found by it; what no rule names is not asked for. */
interface IndexedCaller {
  readonly uid: number
  /** Its group and its supplementary ones. */
  gids(): readonly number[]
  /** `none` if it has none. */
  unit(): string
}

/**
 * Finds the rules that may speak of a request, without going through all: by the segments of the path, and
 * there by what a rule names exactly of its callers. Whether they do speak of it is for the caller to see.
 */
export interface RuleIndex<R> {
  /** In the order of the policy. */
  candidates(path: string, caller: IndexedCaller): R[]
}

/** Numbers of rules, by one of the things that a caller has. */
type Named = Map<string, number[]>

interface Place {
  readonly below: Map<string, Place>
  /** Rules whose path ends here, and those of `/**`. */
  readonly here: Named
  readonly andBelow: Named
}

const ANYBODY = 'anybody'
const ANY_SEGMENT = '*'

export function ruleIndex<R extends IndexedRule>(rules: readonly R[]): RuleIndex<R> {
  const root = emptyPlace()
  // A caller may be in 65,536 groups: only those that a rule names are looked for.
  const groupsNamed = new Set(rules.flatMap(({ groups }) => [...(groups ?? [])]))
  const areGroupsNamed = groupsNamed.size > 0
  const areUnitsNamed = rules.some(({ units }) => units !== undefined)
  for (const [number, rule] of rules.entries()) {
    const names = namesOf(rule)
    for (const { segments, andBelow } of rule.paths) {
      const place = placeOf(root, segments)
      for (const name of names) add(andBelow ? place.andBelow : place.here, name, number)
    }
  }
  return {
    candidates: (path, caller) => {
      if (rules.length === 0) return []
      const found = new Set<number>()
      const gids = areGroupsNamed ? caller.gids().filter((gid) => groupsNamed.has(gid)) : []
      const units = areUnitsNamed ? [unit(caller.unit())] : []
      const names = [ANYBODY, user(caller.uid), ...units, ...gids.map(group)]
      const take = (named: Named) => {
        for (const name of names) for (const number of named.get(name) ?? []) found.add(number)
      }
      const segments = path === '/' ? [] : path.slice(1).split('/')
      visit(root, segments, 0, take)
      return [...found]
        .sort((one, other) => one - other)
        .map((number) => rules[number])
        .filter((rule) => rule !== undefined)
    },
  }
}

/** Every place that a path can end at or lie below. */
function visit(
  place: Place,
  segments: readonly string[],
  at: number,
  take: (named: Named) => void,
): void {
  take(place.andBelow)
  const segment = segments[at]
  if (segment === undefined) {
    take(place.here)
    return
  }
  const exact = place.below.get(segment)
  if (exact !== undefined) visit(exact, segments, at + 1, take)
  const any = segment === '' || segment === ANY_SEGMENT ? undefined : place.below.get(ANY_SEGMENT)
  if (any !== undefined) visit(any, segments, at + 1, take)
}

/** A rule is found by the first list that names callers exactly, and by nothing if it has none. */
function namesOf({ users, groups, units }: IndexedRule): string[] {
  if (users !== undefined) return [...users].map(user)
  if (groups !== undefined) return [...groups].map(group)
  const isExact = units?.every(({ text }) => !text.includes('*'))
  return units !== undefined && isExact ? units.map(({ text }) => unit(text)) : [ANYBODY]
}

const user = (uid: number) => `user ${uid}`
const group = (gid: number) => `group ${gid}`
const unit = (name: string) => `unit ${name}`

function placeOf(root: Place, segments: readonly string[]): Place {
  let place = root
  for (const segment of segments) {
    const next = place.below.get(segment) ?? emptyPlace()
    place.below.set(segment, next)
    place = next
  }
  return place
}

function emptyPlace(): Place {
  return { below: new Map(), here: new Map(), andBelow: new Map() }
}

function add(named: Named, name: string, number: number): void {
  const numbers = named.get(name)
  if (numbers === undefined) named.set(name, [number])
  else numbers.push(number)
}
