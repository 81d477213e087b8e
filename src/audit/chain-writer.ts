import { closeSync } from 'node:fs'
import { CHAIN_ORIGIN, type ChainHead, encodeLine } from './chain.ts'
import { type ChainFile, endOfChain, openChainFile, wasMoved, writeWhole } from './chain-file.ts'
import { CHAIN_START, ownBody, type QueuedRecord } from './queue.ts'
import { endOfRenamed } from './renamed-file.ts'

/** Links records to a chain and writes them to the file at a path. */
export interface ChainWriter {
  /** The end of what is in the file. */
  readonly head: ChainHead
  /** Whether nothing is in the file yet. */
  readonly isEmpty: boolean
  /** Bytes of a line that a crash had cut; they have been removed. */
  readonly cutBytes: number
  /** Whether the path now leads to another file, as after logrotate, or to none. */
  wasMoved(): boolean
  /** Writes all of the batch or nothing; in a new file, if it begins with the beginning of one. */
  write(batch: readonly QueuedRecord[]): Promise<void>
  close(): void
}

/**
 * Opens the file, or makes it.
 *
 * @param keptHead what the chain goes on from if the file is new
 * @throws MetabindError DIRECTORY_UNSAFE, DIRECTORY_FAULT
 */
export function openChainWriter(path: string, keptHead: ChainHead | undefined): ChainWriter {
  let file = openChainFile(path)
  const found = endOfChain(file)
  let head = found.head ?? (keptHead && endOfRenamed(path, keptHead)) ?? CHAIN_ORIGIN
  return {
    get head() {
      return head
    },
    get isEmpty() {
      return file.bytes === 0
    },
    cutBytes: found.cutBytes,
    wasMoved: () => wasMoved(path, file),
    write: async (batch) => {
      if (batch[0]?.event === CHAIN_START && file.bytes > 0) file = reopen(path, file)
      const linked = link(head, batch, file.bytes === 0)
      await writeWhole(file, linked.text)
      head = linked.head
    },
    close: () => closeSync(file.descriptor),
  }
}

function link(
  head: ChainHead,
  batch: readonly QueuedRecord[],
  isNewFile: boolean,
): { text: string; head: ChainHead } {
  let text = ''
  let at = head
  for (const { seq, event, body } of batch) {
    // A rotation asked for while the old file is still in its place.
    const isReopened = event === CHAIN_START && !isNewFile
    const line = encodeLine(at.hash, seq, isReopened ? ownBody('chain.reopened') : body)
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
