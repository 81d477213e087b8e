import { closeSync, constants, fstatSync, openSync, readdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { type ChainHead, decodeLine } from './chain.ts'
import { readTail } from './chain-file.ts'

const FILES_MAX = 1000

/**
 * Where a chain ends whose file was renamed while no agent ran. An agent that is killed between writing records and
 * keeping their end leaves an end that is older than the file: going on from there would be a second chain.
 *
 * @param path where the file was; the renamed one has a longer name in the same directory
 * @param kept the end that was kept
 * @returns the end of the file that goes on from the kept one, or the kept one
 */
export function endOfRenamed(path: string, kept: ChainHead): ChainHead {
  for (const file of renamedFiles(path)) {
    const end = endBehind(kept, tailOf(file))
    if (end !== undefined) return end
  }
  return kept
}

function renamedFiles(path: string): string[] {
  const directory = dirname(path)
  try {
    const names = readdirSync(directory).filter(
      (name) => name.startsWith(basename(path)) && name !== basename(path),
    )
    return names.slice(0, FILES_MAX).map((name) => join(directory, name))
  } catch {
    // Who may not list the directory goes on from what is kept.
    return []
  }
}

/** @returns undefined if the lines have nothing to do with the head */
function endBehind(kept: ChainHead, lines: readonly string[]): ChainHead | undefined {
  let end: ChainHead | undefined
  for (const text of lines) {
    const line = decodeLine(text)
    if (line?.hash === kept.hash || line?.prev === (end ?? kept).hash) {
      end = { seq: line.seq, hash: line.hash }
    }
  }
  return end
}

/** The lines at the end of a file of the agent's own; the first may be cut. */
function tailOf(file: string): string[] {
  let descriptor: number | undefined
  try {
    const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants
    descriptor = openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
    const stat = fstatSync(descriptor)
    if (!stat.isFile() || stat.uid !== process.getuid?.()) return []
    return readTail(descriptor, stat.size).toString('latin1').split('\n')
  } catch {
    // It is gone, or another's.
    return []
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}
