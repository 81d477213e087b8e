import { type Dirent, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Where cgroup version 2 is: alone, or beside version 1. */
const ROOTS = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified']
const CGROUPS_MAX = 65_536
// A storm of unknown ids must not walk the tree for each of them.
const WALK_MS_MIN = 1000

/** Finds the path of a cgroup by the id that sock_diag(7) gives, such as `/system.slice/app.service`. */
export interface Cgroups {
  pathOf(id: bigint): string | undefined
}

/**
 * A cgroup's id is the inode of its directory (cgroups(7)). Ids are not used again while the kernel
 * runs, so what was found stays true; the tree is walked again for an id that is new.
 */
export function cgroups(clockMs: () => number): Cgroups {
  let paths = new Map<bigint, string>()
  let walkedAtMs = Number.NEGATIVE_INFINITY
  return {
    pathOf: (id) => {
      const isDue = clockMs() - walkedAtMs >= WALK_MS_MIN
      if (!paths.has(id) && isDue) {
        walkedAtMs = clockMs()
        paths = walk()
      }
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
