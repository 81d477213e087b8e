import type { Dialect } from '../dialect/dialect.ts'

/** The paths that the source wants to be asked for with a slash at their end. */
export interface Directories {
  has(path: string): boolean
  add(path: string): void
}

// Only the source adds to them, a path that exists each time.
const DIRECTORIES_MAX = 1024

/** Begins with the lists of roles, which clients ask for with the slash everywhere. */
export function directoriesOf({ rolesPath, versions }: Dialect): Directories {
  const inVersion = rolesPath.split('/').slice(2, -1).join('/')
  const roles = new Set(versions.map((version) => `/${version}/${inVersion}`))
  const learned = new Set<string>()
  return {
    has: (path) => roles.has(path) || learned.has(path),
    add: (path) => {
      learned.add(path)
      const [oldest] = learned
      if (learned.size > DIRECTORIES_MAX && oldest !== undefined) learned.delete(oldest)
    },
  }
}

/**
 * Whether an answer sends the client from a path to the same path with a slash, as EC2 does from a
 * directory. No other redirect is followed, and this one by asking the same source again: where its
 * Location leads to is never connected to.
 *
 * @param origins what the Location may call the source
 */
export function leadsToSlash(
  { status, location }: { readonly status: number; readonly location: string | undefined },
  path: string,
  origins: readonly string[],
): boolean {
  if (status !== 301 || location === undefined) return false
  const to = URL.parse(location, origins[0])
  return to !== null && origins.includes(to.origin) && to.href === `${to.origin}${path}/`
}
