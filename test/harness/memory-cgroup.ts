import { existsSync } from 'node:fs'
import { mkdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/** The files of a memory controller, by its version. */
const VERSIONS = [
  {
    root: '/sys/fs/cgroup/memory',
    controller: 'memory.limit_in_bytes',
    limit: 'memory.limit_in_bytes',
    now: 'memory.usage_in_bytes',
    peak: 'memory.max_usage_in_bytes',
    kills: 'memory.oom_control',
  },
  {
    root: '/sys/fs/cgroup',
    controller: 'memory.max',
    limit: 'memory.max',
    now: 'memory.current',
    peak: 'memory.peak',
    kills: 'memory.events',
  },
] as const

/** A cgroup with a bound on memory, like that of a unit with MemoryMax=. */
export interface MemoryCgroup {
  /** What to put before a command to run it there, as root. */
  readonly prefix: readonly string[]
  /** What is charged now. */
  bytes(): Promise<number>
  /** The most that was charged at once. */
  peakBytes(): Promise<number>
  /** Processes that the kernel ended because the memory was used up. */
  kills(): Promise<number>
  remove(): Promise<void>
}

/** @returns undefined if this machine lets nobody make one, or not with a bound on memory */
export async function makeMemoryCgroup(
  name: string,
  bytesMax: number,
): Promise<MemoryCgroup | undefined> {
  for (const version of VERSIONS) {
    const directory = `${version.root}/${name}`
    try {
      await mkdir(directory)
    } catch {
      continue
    }
    // A cgroup of version 2 has the controller only if its parent hands it on.
    if (!existsSync(`${directory}/${version.controller}`)) {
      await rmdir(directory)
      continue
    }
    const read = (file: string) => readFile(`${directory}/${file}`, 'utf8')
    await writeFile(`${directory}/${version.limit}`, String(bytesMax))
    const enter = `echo $$ > ${directory}/cgroup.procs && exec "$@"`
    return {
      prefix: ['sh', '-c', enter, 'sh'],
      bytes: async () => Number(await read(version.now)),
      peakBytes: async () => Number(await read(version.peak)),
      kills: async () => Number(/^oom_kill ([0-9]+)$/m.exec(await read(version.kills))?.[1]),
      remove: () => removeSoon(directory),
    }
  }
  return undefined
}

/** It can be removed once its last process is gone, which takes a moment. */
async function removeSoon(directory: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return await rmdir(directory)
    } catch (error) {
      if (tries > 50) throw error
      await sleep(100)
    }
  }
}
