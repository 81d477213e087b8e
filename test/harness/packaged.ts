import { chmod, chown, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'vitest'
import { type AgentOptions, type AgentProcess, startAgentProcess } from './agent.ts'
import { type Instance, type InstanceOptions, startInstance } from './instance.ts'
import { layLibrary, packagedDaemon } from './library.ts'
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
  /** Starts a further agent on the same everything, once the first has ended; it need not become ready. */
  launch(configs: readonly string[]): AgentProcess
  stop(): Promise<void>
}

export interface PackagedOptions
  extends Pick<InstanceOptions, 'config' | 'certified' | 'cloud' | 'source' | 'instanceId'> {
  /** Bytes that the agent may use, the unit's MemoryMax= when left out. */
  readonly memoryBytesMax?: number
  /** What layLibrary has made already. */
  readonly library?: string
  /** What the agent is started with besides: a place for more of its command, sockets that it is handed. */
  readonly agent?: AgentOptions
  /** Puts into the directory what is there from before. */
  readonly prepare?: (directory: string) => Promise<void>
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
  const packaged = await launchPackaged(options)
  return packaged ?? skip(context, 'no cgroup with a bound on memory can be made')
}

/** The same outside of a test, as root. @returns undefined if no cgroup can be made */
export async function launchPackaged(options: PackagedOptions = {}): Promise<Packaged | undefined> {
  const limits = unitLimits()
  made += 1
  const name = `metabind-packaged-${process.pid}-${made}`
  const cgroup = await makeMemoryCgroup(name, options.memoryBytesMax ?? limits.memoryBytesMax)
  if (cgroup === undefined) return undefined
  const directory = await mkdtemp('/tmp/packaged-')
  const remove = async () => {
    await cgroup.remove()
    await rm(directory, { recursive: true, force: true })
  }
  try {
    const library = options.library ?? (await layLibrary(join(directory, 'lib')))
    await options.prepare?.(directory)
    await giveAway(directory)
    const agent: AgentOptions = {
      ...options.agent,
      program: packagedDaemon(library),
      through: [
        ...cgroup.prefix,
        ...['prlimit', `--nofile=${limits.descriptorsMax}:${limits.descriptorsMax}`],
        ...asUser(AGENT_UID, TPM_GROUP),
        ...(options.agent?.through ?? []),
      ],
    }
    const instance = await startInstance(directory, { ...options, agent })
    const stop = async () => {
      await instance.stop()
      await remove()
    }
    const launch = (configs: readonly string[]) => startAgentProcess(configs, agent)
    return { instance, directory, cgroup, launch, stop }
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
    // What is there from before.
    if (name === '') continue
    for (const file of await readdir(join(directory, name))) {
      await chown(join(directory, name, file), AGENT_UID, AGENT_UID)
    }
  }
}

function skip(context: TestContext, why: string): never {
  process.stderr.write(`skipped: ${context.task.name}: ${why}\n`)
  return context.skip(why)
}
