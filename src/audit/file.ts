import { MetabindError } from '../errors.ts'
import type { Owner } from '../shares.ts'
import type { ChainHead } from './chain.ts'
import type { ChainHeadFile } from './chain-head-file.ts'
import { openChainWriter } from './chain-writer.ts'
import { auditQueue, type ChainRecord } from './queue.ts'

/** What became of a record. */
interface Appended {
  readonly seq: number
  /** Whether it is lost, or waits for a disk that has failed. */
  readonly isInDoubt: boolean
}

/** The audit records as a hash chain in a file. Nothing here is waited for by a request. */
export interface AuditFile {
  /** Takes a record; it is written soon, or counted as lost. */
  append(record: ChainRecord, owner: Owner): Appended
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

const RETRY_MS = 1000

/**
 * Opens the file and goes on from its last whole line, or from the kept head if the file is new; a
 * line that a crash cut is removed, and a record says so. A disk that is full or broken stops
 * nobody's requests: records wait in a bounded queue, then are counted, and the chain itself says
 * how many it lost (`chain.gap`).
 *
 * @param headFile if the end of the chain is kept besides the file, which may be renamed while no agent runs
 * @throws MetabindError DIRECTORY_UNSAFE, DIRECTORY_FAULT if it cannot be used at start
 */
export function openAuditFile(
  path: string,
  watcher: AuditFileWatcher,
  headFile?: ChainHeadFile,
): AuditFile {
  const writer = openChainWriter(path, headFile?.head)
  const queue = auditQueue(writer.head.seq + 1, watcher.onLost)
  let failing = false
  let writing: Promise<void> | undefined
  let closed = false
  let retry: NodeJS.Timeout | undefined

  const rotate = (): void => {
    queue.putStart()
    wake()
  }
  const writeQueued = async (): Promise<void> => {
    for (let batch = queue.batch(); batch.length > 0; batch = queue.batch()) {
      await writer.write(batch)
      queue.remove(batch)
      queue.putGap()
      await headFile?.write(writer.head)
    }
  }
  const writeAll = async (): Promise<void> => {
    try {
      if (writer.wasMoved()) rotate()
      await writeQueued()
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
    // Its number may be another's by now.
    if (closed) return
    writing ??= new Promise<void>((resolve) => setImmediate(resolve)).then(writeAll).finally(() => {
      writing = undefined
    })
  }
  const flush = async (): Promise<void> => {
    wake()
    await writing
  }

  if (writer.isEmpty) queue.putStart()
  if (writer.cutBytes > 0) queue.putOwn('chain.torn', { cutBytes: writer.cutBytes })
  wake()
  return {
    append: (record, owner) => {
      const { seq, isLost } = queue.put(record, owner)
      if (!failing) wake()
      return { seq, isInDoubt: isLost || failing }
    },
    head: () => writer.head,
    rotate,
    flush,
    close: async () => {
      await flush()
      closed = true
      clearTimeout(retry)
      writer.close()
    },
  }
}
