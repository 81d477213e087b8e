/** For whom something waits in a buffer: a user, or one of the names below. */
export type Owner = string

/** What the agent itself has to say. */
export const AGENT: Owner = 'the agent'
export const ROOT: Owner = 'uid 0'
/** Callers whose user the kernel does not name. */
export const NAMELESS: Owner = 'callers without a user'

/** Under it a line of the log carries its owner. It is not printed: pino leaves out what a symbol names. */
export const OWNER = Symbol('owner')

/** A bounded buffer, shared among owners so that none can take all of it. */
export interface Shares {
  /** @returns whether there was room; if so, it is taken until given back */
  take(owner: Owner, bytes: number): boolean
  giveBack(owner: Owner, bytes: number): void
}

const PRIVILEGED = [AGENT, ROOT]
/** The part of a buffer that is kept for each of the privileged. */
const KEPT = 1 / 8

/**
 * An owner may have as much as it leaves free: alone half of the buffer, beside one other a third. So whoever
 * comes next finds room, however full the others keep theirs (the dynamic thresholds of Choudhury and Hahne).
 * What is kept for the agent and for root nobody else takes, whatever number of users one person has.
 */
export function shares(bytesMax: number): Shares {
  const usedBy = new Map<Owner, number>()
  let used = 0
  const keptMax = bytesMax * KEPT
  const usedOf = (owner: Owner) => usedBy.get(owner) ?? 0
  const keptForOthers = (owner: Owner) =>
    PRIVILEGED.filter((privileged) => privileged !== owner)
      .map((privileged) => Math.max(0, keptMax - usedOf(privileged)))
      .reduce((sum, kept) => sum + kept, 0)
  const set = (owner: Owner, bytes: number): void => {
    used += bytes - usedOf(owner)
    if (bytes > 0) usedBy.set(owner, bytes)
    else usedBy.delete(owner)
  }
  return {
    take: (owner, bytes) => {
      const wanted = usedOf(owner) + bytes
      const isKept = PRIVILEGED.includes(owner) && wanted <= keptMax
      if (!isKept && wanted > bytesMax - used - keptForOthers(owner)) return false
      set(owner, wanted)
      return true
    },
    giveBack: (owner, bytes) => set(owner, Math.max(0, usedOf(owner) - bytes)),
  }
}
