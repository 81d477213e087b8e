import { type Dirent, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Where cgroup version 2 is: alone, or beside version 1. */
const ROOTS = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']
const CGROUPS_MAX = 65_536
// For so long an id that is not in the tree is not looked for again.
const MISSED_MS = 1000

/** Finds the path of a cgroup by the id that sock_diag(7) gives, such as `/system.slice/app.service`. */
export interface Cgroups {
  pathOf(id: bigint): string | undefined
}

/**
 * A cgroup's id is the inode of its directory (cgroups(7)). Ids are not used again while the kernel
 * runs, so what was found stays true. The tree is walked for an id that is new: a unit that has just
 * started must be found by its first connection.
 *
 * @param clockMs monotonic
 */
export function cgroups(clockMs: () => number): Cgroups {
  let paths = new Map<bigint, string>()
  let missed = new Map<bigint, number>()
  return {
    pathOf: (id) => {
      const missedAtMs = missed.get(id) ?? Number.NEGATIVE_INFINITY
      if (paths.has(id) || clockMs() - missedAtMs < MISSED_MS) return paths.get(id)
      paths = walk()
      if (missed.size >= CGROUPS_MAX) missed = new Map()
      if (!paths.has(id)) missed.set(id, clockMs())
      return paths.get(id)
    },
  }
}

function walk(): Map<bigint, string> {
  const root = ROOTS.find((path) => statSync(`${path}/cgroup.procs`, { throwIfNoEntry: false }))
  const found = new Map<bigint, string>()
  if (root !== undefined) add(root, '/', found)
  return found
}

function add(root: string, path: string, found: Map<bigint, string>): void {
  const directory = join(root, path)
  const stat = statSync(directory, { bigint: true, throwIfNoEntry: false })
  if (stat === undefined || found.size >= CGROUPS_MAX) return
  found.set(stat.ino, path)
  for (const entry of entriesOf(directory)) {
    if (entry.isDirectory()) add(root, join(path, entry.name), found)
  }
}

/** Empty where the cgroup ended between its listing and this. */
function entriesOf(directory: string): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
  } catch {
    return []
  }
}
