/** A user, or the agent itself. */
export type Asker = number | 'agent'

/** What waits for the TPM. Users take turns, whoever has how much there. */
export interface SigningQueue<T> {
  /**
   * @returns what has no room for it: itself, or the last of whoever has most, if that is more than this one has; undefined
   *   if everything fits
   */
  add(asker: Asker, item: T): T | undefined
  /** The next ones, one of each asker in turn. */
  take(most: number): T[]
}

/** Of one user. A chip makes a few signatures in a second: more would only time out. */
export const WAITING_PER_USER_MAX = 32
/** Of all users but root. */
export const WAITING_MAX = 128

/** The agent's own are never refused: each is one, at intervals. Nor does anybody take root's place. */
export function signingQueue<T>(): SigningQueue<T> {
  // The next to be taken from is first.
  const waiting = new Map<Asker, T[]>()
  let ofUsers = 0
  const isCounted = (asker: Asker) => asker !== 'agent' && asker !== 0
  const add = (asker: Asker, item: T): void => {
    const own = waiting.get(asker)
    if (own === undefined) waiting.set(asker, [item])
    else own.push(item)
    if (isCounted(asker)) ofUsers += 1
  }
  /** One of whoever has most, if somebody has two more than this one. */
  const makeRoom = (own: number): T | undefined => {
    const others = [...waiting].filter(([asker]) => isCounted(asker))
    const [, most] = others.reduce((one, other) => (other[1].length > one[1].length ? other : one))
    if (most.length < own + 2) return undefined
    ofUsers -= 1
    return most.pop()
  }
  return {
    add: (asker, item) => {
      const own = waiting.get(asker)?.length ?? 0
      if (asker !== 'agent' && own >= WAITING_PER_USER_MAX) return item
      const isFull = isCounted(asker) && ofUsers >= WAITING_MAX
      const left = isFull ? makeRoom(own) : undefined
      if (isFull && left === undefined) return item
      add(asker, item)
      return left
    },
    take: (most) => {
      const taken: T[] = []
      // A map shows what is added to it while it is walked: who has more comes again, behind the others.
      for (const [asker, [first, ...rest]] of waiting) {
        if (taken.length >= most) break
        waiting.delete(asker)
        if (rest.length > 0) waiting.set(asker, rest)
        if (first === undefined) continue
        taken.push(first)
        if (isCounted(asker)) ofUsers -= 1
      }
      return taken
    },
  }
}
