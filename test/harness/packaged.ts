import { chmod, chown, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'vitest'
import { type Instance, type InstanceOptions, startInstance } from './instance.ts'
import { layLibrary } from './library.ts'
import { type MemoryCgroup, makeMemoryCgroup } from './memory-cgroup.ts'
import { asUser } from './networks.ts'
import { requireRoot } from './root.ts'
import { unitLimits } from './unit-file.ts'

/**
 * The agent as packaged: its bundle on the runtime of the package, with the flags, the user of its own
 * and the bounds on memory and descriptors that its unit gives it.
 */

/** Whom the agent runs as. */
export const AGENT_UID = 61_101
// The sockets of swtpm are open to its group, root's.
const TPM_GROUP = 0

/** An instance whose agent is the packaged one. */
export interface Packaged {
  readonly instance: Instance
  readonly directory: string
  readonly cgroup: MemoryCgroup
  stop(): Promise<void>
}

export interface PackagedOptions extends Pick<InstanceOptions, 'config' | 'certified' | 'cloud'> {
  /** Bytes that the agent may use, the unit's MemoryMax= when left out. */
  readonly memoryBytesMax?: number
}

let made = 0

/**
 * Starts one and waits until it is ready. Skips the test, and says so, if this process is not root or
 * no cgroup with a bound on memory can be made here.
 */
export async function startPackaged(
  context: TestContext,
  options: PackagedOptions = {},
): Promise<Packaged> {
  requireRoot(context, 'the agent gets a user and a cgroup of its own')
  const limits = unitLimits()
  made += 1
  const name = `metabind-packaged-${process.pid}-${made}`
  const cgroup = await makeMemoryCgroup(name, options.memoryBytesMax ?? limits.memoryBytesMax)
  if (cgroup === undefined) return skip(context, 'no cgroup with a bound on memory can be made')
  const directory = await mkdtemp('/tmp/packaged-')
  const remove = async () => {
    await cgroup.remove()
    await rm(directory, { recursive: true, force: true })
  }
  try {
    const library = await layLibrary(join(directory, 'lib'))
    await giveAway(directory)
    const instance = await startInstance(directory, {
      ...options,
      agent: {
        program: [join(library, 'bin/node'), ...limits.v8Flags, join(library, 'metabindd.cjs')],
        through: [
          ...cgroup.prefix,
          ...['prlimit', `--nofile=${limits.descriptorsMax}:${limits.descriptorsMax}`],
          ...asUser(AGENT_UID, TPM_GROUP),
        ],
      },
    })
    const stop = async () => {
      await instance.stop()
      await remove()
    }
    return { instance, directory, cgroup, stop }
  } catch (error) {
    await remove()
    throw error
  }
}

/** The folders that the agent writes to. */
async function giveAway(directory: string): Promise<void> {
  await chmod(directory, 0o755)
  for (const name of ['', 'run', 'state']) {
    await mkdir(join(directory, name), { recursive: true })
    await chown(join(directory, name), AGENT_UID, AGENT_UID)
  }
}

function skip(context: TestContext, why: string): never {
  process.stderr.write(`skipped: ${context.task.name}: ${why}\n`)
  return context.skip(why)
}
