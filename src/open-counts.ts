/** How much is open in each of some names, such as connections of users; a name with nothing is forgotten. */
export interface OpenCounts<Name> {
  of(name: Name): number
  add(name: Name, count: number): void
  remove(name: Name, count: number): void
  /** Names that have something open. */
  readonly size: number
}

export function openCounts<Name>(): OpenCounts<Name> {
  const counts = new Map<Name, number>()
  return {
    of: (name) => counts.get(name) ?? 0,
    add: (name, count) => void counts.set(name, (counts.get(name) ?? 0) + count),
    remove: (name, count) => {
      const left = (counts.get(name) ?? 0) - count
      if (left > 0) counts.set(name, left)
      else counts.delete(name)
    },
    get size() {
      return counts.size
    },
  }
}
