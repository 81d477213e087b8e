import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readSync,
  type Stats,
  write,
} from 'node:fs'
import { promisify } from 'node:util'
import { MetabindError } from '../errors.ts'
import {
  CHAIN_ORIGIN,
  type ChainHead,
  decodeLine,
  encodeLine,
  LINE_BYTES_MAX,
} from '../format/audit-chain.ts'

const writeTo = promisify(write)

/** A record on its way into the chain. Its number was given when it was made. */
export interface ChainRecord {
  readonly time: string
  readonly event: string
}

/** The audit records as a hash chain in a file. Nothing here is waited for by a request. */
export interface AuditFile {
  /** Takes a record; it is written soon, or counted as lost. @returns its number */
  append(record: ChainRecord): number
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

interface Queued {
  readonly seq: number
  readonly record: ChainRecord
  /** It is the first of a new file. */
  readonly opensFile: boolean
}

interface Opened {
  readonly descriptor: number
  /** Bytes of whole lines. */
  bytes: number
}

// Some ten seconds of every limit of limits.ts met by several uids; at most 160 MiB of the longest
// records, some 3 MiB of usual ones.
const QUEUE_MAX = 10_000
const BATCH_MAX = 256
const RETRY_MS = 1000

/**
 * Opens the file and goes on from its last whole line; a line that a crash cut is removed, and a
 * record says so. A disk that is full or broken stops nobody's requests: records wait in a bounded
 * queue, then are counted, and the chain itself says how many it lost (`chain.gap`).
 *
 * @throws MetabindError DIRECTORY_UNSAFE, DIRECTORY_FAULT where it cannot be used at start
 */
export function openAuditFile(path: string, watcher: AuditFileWatcher): AuditFile {
  const queue: Queued[] = []
  let opened = openPrivate(path)
  const found = lastLine(opened)
  let head = found.head
  let nextSeq = head.seq + 1
  let lost = 0
  let failing = false
  let writing: Promise<void> | undefined
  let retry: NodeJS.Timeout | undefined

  const enqueue = (record: ChainRecord, opensFile = false): number => {
    const seq = nextSeq
    nextSeq += 1
    queue.push({ seq, record, opensFile })
    return seq
  }
  const own = (event: string, fields: object = {}) => ({
    time: new Date().toISOString(),
    event,
    ...fields,
  })
  const recordGap = (): void => {
    if (lost === 0 || queue.length >= QUEUE_MAX) return
    const record = own('chain.gap', { lost })
    lost = 0
    enqueue(record)
  }
  const rotate = (): void => {
    recordGap()
    enqueue(own('chain.start'), true)
    wake()
  }
  const writeBatch = async (): Promise<void> => {
    const end = queue.findIndex((queued, at) => at > 0 && queued.opensFile)
    const batch = queue.slice(0, Math.min(end < 0 ? queue.length : end, BATCH_MAX))
    if (batch[0]?.opensFile && opened.bytes > 0) opened = reopen(path, opened)
    const linked = link(head, batch, opened.bytes === 0)
    await writeWhole(opened, linked.text)
    head = linked.head
    queue.splice(0, batch.length)
    recordGap()
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

  if (opened.bytes === 0) enqueue(own('chain.start'), true)
  if (found.cutBytes > 0) enqueue(own('chain.torn', { cutBytes: found.cutBytes }))
  wake()
  return {
    append: (record) => {
      recordGap()
      if (queue.length >= QUEUE_MAX) {
        lost += 1
        nextSeq += 1
        watcher.onLost()
        return nextSeq - 1
      }
      const seq = enqueue(record)
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

function link(
  head: ChainHead,
  batch: readonly Queued[],
  isNewFile: boolean,
): { text: string; head: ChainHead } {
  let text = ''
  let at = head
  for (const { seq, record, opensFile } of batch) {
    // A rotation asked for while the old file is still in its place.
    const event = opensFile && !isNewFile ? 'chain.reopened' : record.event
    const line = encodeLine(at.hash, { seq, ...record, event })
    text += `${line.text}\n`
    at = line.head
  }
  return { text, head: at }
}

/** All of it or nothing: what part a full disk took is cut off again. */
async function writeWhole(file: Opened, text: string): Promise<void> {
  const bytes = Buffer.from(text)
  try {
    for (let at = 0; at < bytes.length; ) {
      at += (await writeTo(file.descriptor, bytes, at, bytes.length - at)).bytesWritten
    }
    file.bytes += bytes.length
  } catch (error) {
    ftruncateSync(file.descriptor, file.bytes)
    throw error
  }
}

/** Whether the path now leads to another file, as after logrotate, or to none. */
function wasMoved(path: string, { descriptor }: Opened): boolean {
  const own = fstatSync(descriptor)
  const there = lstatSync(path, { throwIfNoEntry: false })
  return there?.ino !== own.ino || there.dev !== own.dev
}

function reopen(path: string, before: Opened): Opened {
  const next = openPrivate(path)
  closeSync(before.descriptor)
  return next
}

function openPrivate(path: string): Opened {
  const { O_RDWR, O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants
  let descriptor: number
  try {
    descriptor = openSync(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600)
  } catch (error) {
    throw new MetabindError('DIRECTORY_FAULT', path, error)
  }
  const stat = fstatSync(descriptor)
  const problem = unsafe(stat)
  if (problem === undefined) return { descriptor, bytes: stat.size }
  closeSync(descriptor)
  throw new MetabindError('DIRECTORY_UNSAFE', `${path}: ${problem}.`)
}

function unsafe(stat: Stats): string | undefined {
  if (!stat.isFile()) return 'not a regular file'
  if (stat.uid !== process.getuid?.()) return 'another owner'
  return (stat.mode & 0o077) === 0 ? undefined : 'accessible to others'
}

/**
 * Where a file of an earlier process ends. What follows the last line end was cut by a crash; it is
 * removed. A last line that is no record of a chain is left for the verifier to find.
 */
function lastLine(file: Opened): { head: ChainHead; cutBytes: number } {
  const tail = Buffer.alloc(Math.min(file.bytes, 2 * LINE_BYTES_MAX))
  readSync(file.descriptor, tail, 0, tail.length, file.bytes - tail.length)
  const end = tail.lastIndexOf('\n') + 1
  const cutBytes = tail.length - end
  if (cutBytes > 0) {
    file.bytes -= cutBytes
    ftruncateSync(file.descriptor, file.bytes)
  }
  const start = end < 2 ? 0 : tail.lastIndexOf('\n', end - 2) + 1
  const line = decodeLine(tail.toString('latin1', start, Math.max(start, end - 1)))
  return { head: line ?? CHAIN_ORIGIN, cutBytes }
}
