import type { Caller } from './caller.ts'

/** Of the host. */
export const ROOT_OWNER = 'uid 0'
const ELSEWHERE = 'elsewhere'

/**
 * For whom a row of a table about callers is kept: a user of this host. Whoever is in a container or in namespaces
 * of its own, or cannot be named, is counted with all of these: such a one may choose numbers of users, and names
 * of containers, as it likes (user_namespaces(7), a delegated cgroup).
 */
export function rowOwner(
  caller: Pick<Caller, 'uid' | 'container' | 'namespaces'> | undefined,
): string {
  const isElsewhere =
    caller === undefined || caller.container !== undefined || caller.namespaces.length > 0
  return isElsewhere ? ELSEWHERE : `uid ${caller.uid}`
}

/** The rows of whoever has most of them. A table that is full makes room there: nobody drives out the rows of others. */
export function rowsOfLargest<Row extends { readonly owner: string }>(rows: readonly Row[]): Row[] {
  const counts = new Map<string, number>()
  for (const { owner } of rows) counts.set(owner, (counts.get(owner) ?? 0) + 1)
  const most = Math.max(...counts.values())
  return rows.filter(({ owner }) => counts.get(owner) === most)
}
