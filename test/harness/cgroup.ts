import { existsSync } from 'node:fs'
import { mkdir, rmdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/** Where cgroup version 2 is on this machine, if it is. */
const ROOT = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((path) =>
  existsSync(`${path}/cgroup.procs`),
)

/** A cgroup named like a unit, for the time of a test. */
export interface TestCgroup {
  /** What to put before a command to run it there, as root. */
  readonly prefix: readonly string[]
  remove(): Promise<void>
}

/** @returns undefined if this machine lets nobody make one */
export async function makeCgroup(name: string): Promise<TestCgroup | undefined> {
  if (ROOT === undefined) return undefined
  const directory = `${ROOT}/${name}`
  try {
    await mkdir(directory)
  } catch {
    return undefined
  }
  const enter = `echo $$ > ${directory}/cgroup.procs && exec "$@"`
  return { prefix: ['sh', '-c', enter, 'sh'], remove: () => removeSoon(directory) }
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
