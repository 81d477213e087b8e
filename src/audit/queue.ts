import { type Owner, shares } from '../shares.ts'
import { encodeBody } from './chain.ts'

/** A record on its way into the chain. Its number was given when it was made. */
export interface ChainRecord {
  readonly time: string
  readonly event: string
}

/** A record that waits for the disk. */
export interface QueuedRecord {
  readonly seq: number
  readonly event: string
  /** JSON. */
  readonly body: string
  /** Undefined: a record of the chain about itself, of which there are few. */
  readonly owner: Owner | undefined
  readonly bytes: number
}

/** What became of a record that was put. */
interface Put {
  /** Its number in the chain, which a lost one has, too. */
  readonly seq: number
  readonly isLost: boolean
}

/** What waits for the disk, in order. It is shared: what one user causes leaves room for the records of others. */
export interface AuditQueue {
  /** Takes a record or, if there is no room, counts it as lost. */
  put(record: ChainRecord, owner: Owner): Put
  /** Takes a record of the chain about itself. */
  putOwn(event: string, fields?: object): void
  /** Says how many were lost since it was last said; nothing, if none. */
  putGap(): void
  /** The beginning of a file; nothing, if one waits already, however often it is tried. */
  putStart(): void
  /** What is written at once: nothing beyond the beginning of another file. Empty if nothing waits. */
  batch(): readonly QueuedRecord[]
  /** The batch has been written. */
  remove(batch: readonly QueuedRecord[]): void
}

/** The first record of a file. */
export const CHAIN_START = 'chain.start'

/** What waits for the disk: some ten thousand usual records. */
export const AUDIT_QUEUE_BYTES_MAX = 4_194_304
/** A record that waits, besides its text. */
const QUEUED_BYTES = 200
/** One write: so many bytes, or one record. */
const BATCH_BYTES = 65_536

/**
 * @param firstSeq number of the next record
 * @param onLost told of each record that was not taken
 */
export function auditQueue(firstSeq: number, onLost: () => void): AuditQueue {
  const queue: QueuedRecord[] = []
  const room = shares(AUDIT_QUEUE_BYTES_MAX)
  let nextSeq = firstSeq
  let lost = 0

  const enqueue = (event: string, body: string, owner?: Owner, bytes = 0): number => {
    const seq = nextSeq
    nextSeq += 1
    queue.push({ seq, event, body, owner, bytes })
    return seq
  }
  const lose = (): Put => {
    lost += 1
    nextSeq += 1
    onLost()
    return { seq: nextSeq - 1, isLost: true }
  }
  const putOwn = (event: string, fields: object = {}): void =>
    void enqueue(event, ownBody(event, fields))
  const putGap = (): void => {
    if (lost > 0) putOwn('chain.gap', { lost })
    lost = 0
  }
  return {
    put: (record, owner) => {
      const body = encodeBody(record)
      // The gap before it is paid for by the record that brings it.
      const bytes = body.length + QUEUED_BYTES * (lost === 0 ? 1 : 2)
      if (!room.take(owner, bytes)) return lose()
      putGap()
      return { seq: enqueue(record.event, body, owner, bytes), isLost: false }
    },
    putOwn,
    putGap,
    putStart: () => {
      if (queue.some(({ event }) => event === CHAIN_START)) return
      putGap()
      putOwn(CHAIN_START)
    },
    batch: () => firstOf(queue),
    remove: (batch) => {
      queue.splice(0, batch.length)
      for (const { owner, bytes } of batch) if (owner !== undefined) room.giveBack(owner, bytes)
    },
  }
}

/** A record of the chain about itself, as JSON. */
export function ownBody(event: string, fields: object = {}): string {
  return encodeBody({ time: new Date().toISOString(), event, ...fields })
}

function firstOf(queue: readonly QueuedRecord[]): readonly QueuedRecord[] {
  let bytes = 0
  let end = 0
  for (const { event, body } of queue) {
    bytes += body.length
    if (end > 0 && (event === CHAIN_START || bytes > BATCH_BYTES)) break
    end += 1
  }
  return queue.slice(0, end)
}
