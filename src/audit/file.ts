import { closeSync } from 'node:fs'
import { MetabindError } from '../errors.ts'
import { type Owner, shares } from '../shares.ts'
import { CHAIN_ORIGIN, type ChainHead, encodeBody, encodeLine } from './chain.ts'
import { type ChainFile, endOfChain, openChainFile, wasMoved, writeWhole } from './chain-file.ts'

/** A record on its way into the chain. Its number was given when it was made. */
interface ChainRecord {
  readonly time: string
  readonly event: string
}

/** The audit records as a hash chain in a file. Nothing here is waited for by a request. */
export interface AuditFile {
  /** Takes a record; it is written soon, or counted as lost. @returns its number */
  append(record: ChainRecord, owner: Owner): number
  /** The end of what is in the file. */
  head(): ChainHead
  /** Goes on in a new file at the same path, after what was appended so far. */
  rotate(): void
  /** Resolves when everything appended is in the file, or cannot be written now. */
  flush(): Promise<void>
  close(): Promise<void>
}

/** What the file tells others. */
export interface AuditFileWatcher {
  /** Once for each time that writing begins to fail. */
  readonly onFault: (error: MetabindError) => void
  readonly onLost: () => void
}

/** Where the end of the chain is kept besides the file, which may be renamed while no agent runs. */
export interface ChainHeadStore {
  readonly head: ChainHead | undefined
  write(head: ChainHead): Promise<void>
}

interface Queued {
  readonly seq: number
  readonly event: string
  /** JSON. */
  readonly body: string
  /** Undefined: a record of the chain about itself, of which there are few. */
  readonly owner: Owner | undefined
  readonly bytes: number
}

/** What waits for the disk: some ten thousand usual records. */
export const AUDIT_QUEUE_BYTES_MAX = 4_194_304
/** A record that waits, besides its text. */
const QUEUED_BYTES = 200
/** One write: so many bytes, or one record. */
const BATCH_BYTES = 65_536
const RETRY_MS = 1000

/**
 * Opens the file and goes on from its last whole line, or from the kept head where the file is new; a
 * line that a crash cut is removed, and a record says so. A disk that is full or broken stops nobody's requests: records wait in a bounded
 * queue, then are counted, and the chain itself says how many it lost (`chain.gap`). The queue is
 * shared: what one user causes leaves room for the records of others.
 *
 * @throws MetabindError DIRECTORY_UNSAFE, DIRECTORY_FAULT where it cannot be used at start
 */
export function openAuditFile(
  path: string,
  watcher: AuditFileWatcher,
  kept?: ChainHeadStore,
): AuditFile {
  const queue: Queued[] = []
  const room = shares(AUDIT_QUEUE_BYTES_MAX)
  let opened = openChainFile(path)
  const found = endOfChain(opened)
  let head = found.head ?? kept?.head ?? CHAIN_ORIGIN
  let nextSeq = head.seq + 1
  let lost = 0
  let failing = false
  let writing: Promise<void> | undefined
  let retry: NodeJS.Timeout | undefined

  const enqueue = (event: string, body: string, owner?: Owner, bytes = 0): number => {
    const seq = nextSeq
    nextSeq += 1
    queue.push({ seq, event, body, owner, bytes })
    return seq
  }
  const enqueueOwn = (event: string, fields: object = {}): number =>
    enqueue(event, ownBody(event, fields))
  const recordGap = (): void => {
    if (lost === 0) return
    enqueueOwn('chain.gap', { lost })
    lost = 0
  }
  const rotate = (): void => {
    // One is enough, however often it is tried.
    if (!queue.some(({ event }) => event === START)) {
      recordGap()
      enqueueOwn(START)
    }
    wake()
  }
  const writeBatch = async (): Promise<void> => {
    const batch = batchOf(queue)
    if (batch[0]?.event === START && opened.bytes > 0) opened = reopen(path, opened)
    const linked = link(head, batch, opened.bytes === 0)
    await writeWhole(opened, linked.text)
    head = linked.head
    queue.splice(0, batch.length)
    for (const { owner, bytes } of batch) if (owner !== undefined) room.giveBack(owner, bytes)
    recordGap()
    await kept?.write(head)
  }
  const writeAll = async (): Promise<void> => {
    try {
      if (wasMoved(path, opened)) rotate()
      while (queue.length > 0) await writeBatch()
      failing = false
    } catch (error) {
      if (!failing) watcher.onFault(new MetabindError('DIRECTORY_FAULT', path, error))
      failing = true
      retry ??= setTimeout(() => {
        retry = undefined
        wake()
      }, RETRY_MS).unref()
    }
  }
  // In the next turn of the event loop, so that what one turn decided is one write.
  const wake = (): void => {
    writing ??= new Promise<void>((resolve) => setImmediate(resolve)).then(writeAll).finally(() => {
      writing = undefined
    })
  }
  const flush = async (): Promise<void> => {
    wake()
    await writing
  }

  if (opened.bytes === 0) enqueueOwn(START)
  if (found.cutBytes > 0) enqueueOwn('chain.torn', { cutBytes: found.cutBytes })
  wake()
  return {
    append: (record, owner) => {
      const body = encodeBody(record)
      // The gap before it is paid for by the record that brings it.
      const bytes = body.length + QUEUED_BYTES * (lost === 0 ? 1 : 2)
      if (!room.take(owner, bytes)) {
        lost += 1
        nextSeq += 1
        watcher.onLost()
        return nextSeq - 1
      }
      recordGap()
      const seq = enqueue(record.event, body, owner, bytes)
      if (!failing) wake()
      return seq
    },
    head: () => head,
    rotate,
    flush,
    close: async () => {
      await flush()
      clearTimeout(retry)
      closeSync(opened.descriptor)
    },
  }
}

/** The first record of a file. */
const START = 'chain.start'

function ownBody(event: string, fields: object): string {
  return encodeBody({ time: new Date().toISOString(), event, ...fields })
}

/** What is written at once: nothing beyond the beginning of another file. */
function batchOf(queue: readonly Queued[]): readonly Queued[] {
  let bytes = 0
  let end = 0
  for (const { event, body } of queue) {
    bytes += body.length
    if (end > 0 && (event === START || bytes > BATCH_BYTES)) break
    end += 1
  }
  return queue.slice(0, end)
}

function link(
  head: ChainHead,
  batch: readonly Queued[],
  isNewFile: boolean,
): { text: string; head: ChainHead } {
  let text = ''
  let at = head
  for (const { seq, event, body } of batch) {
    // A rotation asked for while the old file is still in its place.
    const isReopened = event === START && !isNewFile
    const line = encodeLine(at.hash, seq, isReopened ? ownBody('chain.reopened', {}) : body)
    text += `${line.text}\n`
    at = line.head
  }
  return { text, head: at }
}

function reopen(path: string, before: ChainFile): ChainFile {
  const next = openChainFile(path)
  closeSync(before.descriptor)
  return next
}
