import { type Dirent, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { ratePerUid } from '../rate-limit.ts'
import { lacksDescriptor } from './unknown.ts'

/** Where cgroup version 2 is: alone, or beside version 1. */
const ROOTS = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']
/** Paths and missed ids that are remembered; beyond it they are looked for again. */
const REMEMBERED_MAX = 65_536
// Some 50 ms of walking. Units stand near the root; a user who may make cgroups below their own unit can
// make any number of them there, and only those are not reached.
const VISITED_MAX = 4096
// For so long an id that is not in the tree is not looked for again.
const MISSED_MS = 1000
// The walk keeps everybody waiting, and a process that may make cgroups is in a new one whenever it likes.
const WALKS = { perSecond: 2, burst: 50 }

/** Finds the path of a cgroup by the id that sock_diag(7) gives, such as `/system.slice/app.service`. */
export interface Cgroups {
  /** @param uid for whom it is looked for: nobody may cause too many walks */
  pathOf(id: bigint, uid: number): string | undefined
}

/**
 * A cgroup's id is the inode of its directory (cgroups(7)). Ids are not used again while the kernel
 * runs, so what was found stays true. The tree is walked for an id that is new: a unit that has just
 * started must be found by its first connection.
 *
 * @param clockMs monotonic
 */
export function cgroups(
  clockMs: () => number,
  visitedMax = VISITED_MAX,
  rememberedMax = REMEMBERED_MAX,
): Cgroups {
  const paths = new Map<bigint, string>()
  const missed = new Map<bigint, number>()
  const walks = ratePerUid(WALKS, clockMs)
  return {
    pathOf: (id, uid) => {
      const missedAtMs = missed.get(id) ?? Number.NEGATIVE_INFINITY
      if (paths.has(id) || clockMs() - missedAtMs < MISSED_MS) return paths.get(id)
      if (walks.take(uid) > 0) return undefined
      for (const remembered of [paths, missed]) {
        if (remembered.size >= rememberedMax) remembered.clear()
      }
      walk(id, paths, visitedMax)
      if (!paths.has(id)) missed.set(id, clockMs())
      return paths.get(id)
    },
  }
}

function walk(id: bigint, found: Map<bigint, string>, visitedMax: number): void {
  for (const { path, directory } of cgroupTree(undefined, visitedMax)) {
    const stat = statSync(directory, { bigint: true, throwIfNoEntry: false })
    if (stat !== undefined) found.set(stat.ino, path)
    if (found.has(id)) return
  }
}

/** Where cgroup version 2 is, or undefined if it is not mounted. */
export function cgroupRoot(): string | undefined {
  return ROOTS.find((path) => statSync(`${path}/cgroup.procs`, { throwIfNoEntry: false }))
}

/** A cgroup, by its path in the tree and by the directory that shows it. */
interface CgroupDirectory {
  readonly path: string
  readonly directory: string
}

/**
 * Level by level: what stands deep delays nothing that stands above it.
 *
 * @param descends asked after a cgroup was given: whether to go on to those below it
 */
export function* cgroupTree(
  descends: (path: string) => boolean = () => true,
  visitedMax = VISITED_MAX,
): Generator<CgroupDirectory> {
  const root = cgroupRoot()
  const paths = root === undefined ? [] : ['/']
  for (let at = 0; at < Math.min(paths.length, visitedMax); at += 1) {
    const path = paths[at] ?? '/'
    const directory = `${root}${path}`
    yield { path, directory }
    if (!descends(path)) continue
    const below = entriesOf(directory).filter((entry) => entry.isDirectory())
    for (const { name } of below) paths.push(join(path, name))
  }
}

/** Empty if the cgroup ended between its listing and this. */
function entriesOf(directory: string): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
  } catch (error) {
    if (lacksDescriptor(error)) throw error
    return []
  }
}
