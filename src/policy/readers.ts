import type { Caller } from '../caller/caller.ts'
import { ROOT_OWNER, rowOwner, rowsOfLargest } from '../caller/row-owner.ts'
import { isPlaced, knownOf } from '../caller/shown.ts'

/** Kinds of path, by what is at stake. */
export type PathKind = 'metadata' | 'credentials' | 'user-data' | 'identity'
/** What became of a read; `would-refuse`: allowed, since the policy only records. */
type ReadVerdict = 'allowed' | 'would-refuse' | 'refused'

/**
 * What one user's processes, of one unit or container, asked for of one kind of path. Unit and container are not
 * known of a caller that asked for nothing secret, where no rule names them.
 */
export interface ReaderRow {
  readonly id: number
  /** Whose rows make room for it. */
  readonly owner: string
  readonly kind: PathKind
  /** Whether it is known where its caller stands. If not, it may be in any unit, or in a container. */
  readonly isPlaced: boolean
  readonly counts: Record<ReadVerdict, number>
  /** As it was last seen. A copy: what else is remembered for a connection's caller ends with the connection. */
  caller: Caller
  path: string
  lastVerdict: ReadVerdict
  /** Of the wall clock. */
  lastAtMs: number
  /** Whether the table has it, or another took its place. */
  isHeld: boolean
}

/** A caller and a path that it asked for. Both are the same for many requests. */
export interface Sighting {
  readonly row: ReaderRow
  readonly caller: Caller
  readonly isPlaced: boolean
  readonly path: string
}

/** Who reads what, for whoever looks. Bounded; of whoever has most, the one that was quiet for longest makes room. */
export interface Readers {
  /** Where reads of this path, with its audience if it has one, by this caller are counted: looked up once for many. */
  sighting(caller: Caller, path: string, isSecret: boolean): Sighting
  count(sighting: Sighting, verdict: ReadVerdict): void
  /** Most recent first. */
  rows(): readonly ReaderRow[]
}

export const READERS_MAX = 256
/** Of one owner but root, whose units are many: the page shows a hundred, and these must not be all of them. */
const OWNER_ROWS_MAX = 64
/** Owns the rows of those of whom only the user is known, who may be in any container. */
const UNPLACED = 'not looked at'
const PATH_CHARACTERS_MAX = 256
// More are not kept of any caller: what is said of such a one counts for its user and its first groups.
const GROUPS_KEPT_MAX = 1024

/** @param wallTimeMs for people who read it; nothing is decided by it */
export function readers(wallTimeMs: () => number): Readers {
  const held = new Map<string, ReaderRow>()
  let rowsMade = 0
  const hold = (key: string, row: ReaderRow): ReaderRow => {
    makeRoom(held, row.owner)
    row.isHeld = true
    held.set(key, row)
    return row
  }
  const newRow = (
    kind: PathKind,
    seen: Pick<Sighting, 'caller' | 'isPlaced' | 'path'>,
  ): ReaderRow => {
    rowsMade += 1
    const counts = { allowed: 0, 'would-refuse': 0, refused: 0 }
    const lastAtMs = wallTimeMs()
    const owner = seen.isPlaced ? rowOwner(seen.caller) : UNPLACED
    return {
      ...{ id: rowsMade, owner, kind, counts, ...seen },
      ...{ lastVerdict: 'allowed', lastAtMs, isHeld: false },
    }
  }
  /** It has made room for others since; and somebody like this one may have come back before. */
  const heldAgain = (seen: Sighting): ReaderRow => {
    const key = keyOf(seen, seen.row.kind)
    return held.get(key) ?? hold(key, seen.row)
  }
  return {
    sighting: (caller, path, isSecret) => {
      const kind = kindOf(path, isSecret)
      const seen = {
        caller: copyOf(caller),
        isPlaced: isPlaced(caller),
        path: shortened(path),
      }
      const key = keyOf(seen, kind)
      return { row: held.get(key) ?? hold(key, newRow(kind, seen)), ...seen }
    },
    count: (seen, verdict) => {
      const row = seen.row.isHeld ? seen.row : heldAgain(seen)
      row.counts[verdict] += 1
      row.caller = seen.caller
      row.path = seen.path
      row.lastVerdict = verdict
      row.lastAtMs = wallTimeMs()
    },
    rows: () => [...held.values()].sort((one, other) => other.lastAtMs - one.lastAtMs),
  }
}

/** Half a query says nothing. */
function shortened(target: string): string {
  const path = target.length > PATH_CHARACTERS_MAX ? target.split('?', 1)[0] : target
  return (path ?? '').slice(0, PATH_CHARACTERS_MAX)
}

function copyOf(caller: Caller): Caller {
  const known = knownOf(caller)
  if (known.groups.length <= GROUPS_KEPT_MAX) return known
  return { ...known, groups: known.groups.slice(0, GROUPS_KEPT_MAX) }
}

function keyOf(
  { caller, isPlaced }: Pick<Sighting, 'caller' | 'isPlaced'>,
  kind: PathKind,
): string {
  const { uid, unit, container, namespaces } = caller
  return `${uid} ${isPlaced} ${unit} ${container} ${namespaces} ${kind}`
}

function makeRoom(held: Map<string, ReaderRow>, owner: string): void {
  const rows = [...held.values()]
  const own = rows.filter((row) => row.owner === owner)
  if (own.length >= OWNER_ROWS_MAX && owner !== ROOT_OWNER) dropQuietest(held, own)
  else if (rows.length >= READERS_MAX) dropQuietest(held, rowsOfLargest(rows))
}

function dropQuietest(held: Map<string, ReaderRow>, rows: readonly ReaderRow[]): void {
  const quietest = rows.reduce((one, other) => (other.lastAtMs < one.lastAtMs ? other : one))
  quietest.isHeld = false
  for (const [key, row] of held) if (row === quietest) held.delete(key)
}

/** @param isSecret whether only root reads it if no rule says otherwise */
export function kindOf(path: string, isSecret: boolean): PathKind {
  if (!isSecret) return 'metadata'
  const [, first, second] = path.split('/')
  if (first === 'metabind' || path.includes('/instance-identity/')) return 'identity'
  return second === 'user-data' || second === 'vendor-data' ? 'user-data' : 'credentials'
}
