import { CHAIN_BREAKS, CHAIN_ORIGIN, type ChainHead, decodeLine } from '../audit/chain.ts'
import { MetabindError } from '../errors.ts'
import { oneLine } from '../format/one-line.ts'
import { continuedBy } from './event-chain.ts'
import { type EventCheckpoint, readEventCheckpoint } from './event-checkpoint.ts'
import type { Repository } from './repository.ts'
import { RESTORED_EVENT } from './restore-mark.ts'

/** A checkpoint with where it was read, for reports. */
export interface PlacedCheckpoint {
  readonly file: string
  /** From 1. */
  readonly line: number
  readonly text: string
}

/** What a verification knows from elsewhere. Each part finds more. */
export interface KnownOfEvents {
  /** The registrar's own name; undefined if any will do. */
  readonly url: string | undefined
  /** Checkpoints that were kept where the database is not. */
  readonly kept: readonly PlacedCheckpoint[]
  /** Thumbprints of keys of the registrar; without it those are its own that the kept checkpoints name. */
  readonly kids: readonly string[] | undefined
}

/** What was found, in the words of `metabind audit verify`. */
export interface EventVerdict {
  readonly records: number
  readonly first: number
  readonly head: ChainHead
  readonly checkpoints: number
  /** The last event that a checkpoint signs; 0: none. */
  readonly signedUpTo: number
  /** Events at the end that no checkpoint stands for: they could be anybody's, and others could have been cut off. */
  readonly unsigned: number
  /** Thumbprints of the keys that signed, in the order in which they did. */
  readonly keys: readonly string[]
  readonly broken:
    | { readonly file: string; readonly line: number; readonly reason: string }
    | undefined
}

type ReadRepository = Pick<Repository, 'events' | 'checkpoints'>

interface Read extends EventCheckpoint {
  readonly file: string
  readonly line: number
  readonly isKept: boolean
}

class Broken extends Error {
  readonly file: string
  readonly line: number

  constructor({ file, line }: Pick<Read, 'file' | 'line'>, reason: string) {
    super(reason)
    this.file = file
    this.line = line
  }
}

/** What was read of the chain. */
interface Followed {
  head: ChainHead
  /** Hashes of the events that checkpoints sign. */
  readonly hashes: Map<number, string>
  /** Events after which others may be missing: the database was restored. */
  readonly restored: number[]
}

const PAGE = 500

/**
 * Verifies the chain of events in a database by the checkpoints in it and by those that were kept elsewhere: whoever
 * writes the database can cut off its end, or make it anew, but can sign nothing of it.
 */
export async function verifyEvents(
  repository: ReadRepository,
  known: KnownOfEvents,
): Promise<EventVerdict> {
  const followed: Followed = { head: CHAIN_ORIGIN, hashes: new Map(), restored: [] }
  let taken: readonly Read[] = []
  let broken: EventVerdict['broken']
  try {
    const all = await readAll(repository, known)
    await follow(repository, followed, new Set(all.map(({ seq }) => seq)))
    const trusted = trustedOf(all, known)
    for (const one of trusted) requireInChain(one, followed)
    if (known.kids !== undefined && trusted.length === 0) {
      throw new Broken({ file: EVENTS_PLACE, line: followed.head.seq }, CHAIN_BREAKS.unsigned)
    }
    taken = trusted
  } catch (error) {
    if (!(error instanceof Broken)) throw error
    broken = { file: error.file, line: error.line, reason: error.message }
  }
  const { head } = followed
  // They are in the order of what they sign, and of many years more than a call takes as parameters.
  const signedUpTo = taken.at(-1)?.seq ?? 0
  return {
    ...{ records: head.seq, first: Math.min(1, head.seq), head, checkpoints: taken.length },
    ...{ signedUpTo, unsigned: head.seq - signedUpTo },
    keys: [...new Set(taken.map(({ kid }) => kid))],
    broken,
  }
}

/** In place of a file, where the fault is in the database; the line is the number of the event or checkpoint. */
export const EVENTS_PLACE = 'events'
const CHECKPOINTS = 'checkpoints of the database'

async function readAll(repository: ReadRepository, known: KnownOfEvents): Promise<Read[]> {
  const all = known.kept.map((one) => read(one, true, known.url))
  for (let after = 0; ; ) {
    const page = await repository.checkpoints(after, PAGE)
    for (const { number, jws } of page) {
      all.push(read({ file: CHECKPOINTS, line: number, text: jws }, false, known.url))
    }
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) break
    after = last.number
  }
  return all.toSorted(
    (one, other) => one.seq - other.seq || Date.parse(one.time) - Date.parse(other.time),
  )
}

function read(placed: PlacedCheckpoint, isKept: boolean, url: string | undefined): Read {
  const { file, line, text } = placed
  try {
    const checkpoint = readEventCheckpoint(text)
    if (url !== undefined && checkpoint.registrar !== url) {
      const name = oneLine(checkpoint.registrar)
      throw new Broken(placed, `the checkpoint is of another registrar, ${name}`)
    }
    return { ...checkpoint, file, line, isKept }
  } catch (error) {
    if (!(error instanceof MetabindError)) throw error
    throw new Broken(placed, error.detail ?? error.message)
  }
}

async function follow(
  repository: ReadRepository,
  followed: Followed,
  wanted: ReadonlySet<number>,
): Promise<void> {
  for (;;) {
    const lines = await repository.events(followed.head.seq, PAGE)
    for (const text of lines) {
      const next = continuedBy(followed.head, text)
      if ('broken' in next) {
        throw new Broken({ file: EVENTS_PLACE, line: followed.head.seq + 1 }, next.broken)
      }
      const { seq, hash } = next.head
      followed.head = next.head
      if (wanted.has(seq)) followed.hashes.set(seq, hash)
      if (decodeLine(text)?.record.event === RESTORED_EVENT) followed.restored.push(seq)
    }
    if (lines.length < PAGE) return
  }
}

/**
 * Those by keys of the registrar: such as are known, and such as one of these names as the next. In the order of what they
 * sign; one in the database by a key from before the first that is known adds nothing to what that one signs.
 */
function trustedOf(all: readonly Read[], { kids, kept }: KnownOfEvents): readonly Read[] {
  const isAnybodys = kids === undefined && kept.length === 0
  const trusted = new Set(
    kids ?? all.filter((one) => isAnybodys || one.isKept).map(({ kid }) => kid),
  )
  const taken: Read[] = []
  for (const one of all) {
    if (trusted.has(one.kid)) {
      for (const kid of one.next) trusted.add(kid)
      taken.push(one)
    } else if (one.isKept || taken.length > 0) {
      throw new Broken(one, CHAIN_BREAKS.otherKey)
    }
  }
  return taken
}

function requireInChain(one: Read, { head, hashes, restored }: Followed): void {
  if (hashes.get(one.seq) === one.hash) return
  const reason =
    one.seq > head.seq
      ? `the chain ends before record ${one.seq}, which the checkpoint signs: its end was cut off`
      : `${CHAIN_BREAKS.resigned}: the chain was rewritten`
  const since = restored.findLast((seq) => seq <= one.seq)
  const why =
    since === undefined ? '' : `, or is that of a backup: record ${since} says that it was restored`
  throw new Broken(one, `${reason}${why}`)
}
