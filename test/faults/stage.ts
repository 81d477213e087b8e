import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type FaultingProxy, startFaultingProxy } from '../../native/tpm2-js/test/faulting-proxy.ts'
import type { Simulator } from '../../src/simulate/simulator.ts'
import { type AgentOptions, type AgentProcess, startAgentProcess } from '../harness/agent.ts'
import { holdSockets } from '../harness/held-sockets.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { asUser } from '../harness/networks.ts'
import { unitLimits } from '../harness/unit-file.ts'

/**
 * An agent as packaged, on a TPM and a cloud that can be made to fail, with sockets that outlive it and
 * somebody who starts it again, as systemd does.
 */

/** Whom the agent runs as. */
export const AGENT_UID = 61_201
/** Who may read the role's credentials, and two who may not. */
export const USERS = { app: 61_211, other: 61_212, third: 61_213 } as const
/** RestartSec= of the unit. */
const RESTART_MS = 500
/** The one rule that there is: who reads credentials. */
export const POLICY = `[[rule]]
effect = "allow"
users = [${USERS.app}]
paths = ["/*/meta-data/ram/security-credentials/*"]
`
/** The group that it runs as: the sockets of swtpm are open to root's. */
export const TPM_GROUP = 0

export const LATEST = '/latest/meta-data'
export const CREDENTIALS = `${LATEST}/ram/security-credentials/demo-role`

/** How the next agent is started. */
interface Launch {
  /** A command that it is started through, as its own user. */
  through: readonly string[]
  /** The same, as root, before that. */
  throughAsRoot: readonly string[]
}

export interface Stage extends AsyncDisposable {
  readonly directory: string
  readonly instance: Instance
  readonly cloud: Simulator
  /** Between the agent and its TPM. */
  readonly wire: FaultingProxy
  readonly auditFile: string
  readonly launch: Launch
  readonly agent: AgentProcess
  /** When the last agent ended, by performance.now(). */
  readonly endedAtMs: number
  /** How many agents were started so far. */
  readonly starts: number
  /** Why agents ended that nobody had killed: what they said last. */
  readonly endings: readonly string[]
  /** Kills the agent as it is now, and waits for its end; another one is started in its place. */
  kill(): Promise<void>
  /** Whether an agent that ended is started again; true at first. */
  isRestarting: boolean
  /** Resolves when another agent runs in place of one that ended. */
  restarted(): Promise<void>
}

export interface StageOptions {
  readonly directory: string
  /** Where the packaged agent is laid out. */
  readonly library: string
  /** More configuration, as TOML. */
  readonly config?: string
  /** Directories that are small disks of their own. */
  readonly disks?: readonly ('run' | 'state' | 'log')[]
}

export async function startStage(options: StageOptions): Promise<Stage> {
  const { directory, library, disks = [] } = options
  const at = (name: string) => join(directory, name)
  await layDirectories(directory)
  for (const name of disks) mountDisk(at(name))
  const held = holdSockets({ metadata: at('metadata.sock'), admin: at('admin.sock') })
  await chmod(at('metadata.sock'), 0o666)
  const limits = unitLimits()
  const launch: Launch = { through: [], throughAsRoot: [] }
  const agentOptions = (): AgentOptions => ({
    ...held.agent,
    program: [join(library, 'bin/node'), ...limits.v8Flags, join(library, 'metabindd.cjs')],
    through: [
      ...launch.throughAsRoot,
      ...['prlimit', `--nofile=${limits.descriptorsMax}:${limits.descriptorsMax}`],
      ...asUser(AGENT_UID, TPM_GROUP),
      ...launch.through,
      ...(held.agent.through ?? []),
    ],
    env: { ...held.agent.env, ...limits.environment },
    logFile: at('agent.log'),
  })
  const auditFile = at('log/audit.log')
  const toml = configOf(directory, auditFile)
  const instance = await startInstance(directory, {
    config: `${toml}${options.config ?? ''}`,
    agent: agentOptions(),
  })
  const { cloud } = instance
  if (cloud === undefined) throw new Error('no cloud')
  await instance.agent.stop('SIGTERM')
  const wire = await startFaultingProxy(instance.tpm)
  for (const socket of ['tpm/f', 'tpm/f.ctrl']) await chmod(at(socket), 0o666)
  await writeFile(at('wire.toml'), `[tpm]\ntcti = ${JSON.stringify(wire.tcti)}\n`)
  const configs = ['instance.toml', 'more.toml', 'wire.toml'].map(at)
  const supervised = supervise(() => startAgentProcess(configs, agentOptions()))
  await supervised.agent.ready()
  return Object.defineProperties({ directory, instance, cloud, wire, auditFile, launch } as Stage, {
    ...Object.getOwnPropertyDescriptors(supervised),
    [Symbol.asyncDispose]: {
      value: async () => {
        supervised.isRestarting = false
        instance.tpm.resume()
        await supervised.agent.stop('SIGKILL')
        await wire[Symbol.asyncDispose]()
        await instance.stop()
        held.close()
      },
    },
  })
}

type Supervised = Pick<
  Stage,
  'agent' | 'endedAtMs' | 'starts' | 'endings' | 'kill' | 'isRestarting' | 'restarted'
>

/** Starts an agent, and another whenever one has ended. */
function supervise(start: () => AgentProcess): Supervised {
  let agent: AgentProcess
  let starts = 0
  let endedAtMs = 0
  let isRestarting = true
  const endings: string[] = []
  const began = new Set<() => void>()
  const begin = (): void => {
    const started = start()
    agent = started
    starts += 1
    started.child.once('close', (code, signal) => {
      const last = started.output().trim().split('\n').at(-1)
      if (signal !== 'SIGKILL') endings.push(`${code ?? signal}: ${last}`)
    })
    agent.child.once('exit', () => {
      endedAtMs = performance.now()
      setTimeout(() => {
        if (isRestarting) begin()
      }, RESTART_MS)
    })
    for (const resolve of began) resolve()
    began.clear()
  }
  begin()
  return {
    get agent() {
      return agent
    },
    get endedAtMs() {
      return endedAtMs
    },
    get starts() {
      return starts
    },
    endings,
    get isRestarting() {
      return isRestarting
    },
    set isRestarting(is) {
      isRestarting = is
    },
    kill: async () => {
      const { child } = agent
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    },
    restarted: () => new Promise((resolve) => void began.add(resolve)),
  }
}

/** What the agent owns, and what it reads. */
async function layDirectories(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true })
  await chmod(directory, 0o755)
  for (const name of ['run', 'state', 'log']) {
    await mkdir(join(directory, name), { recursive: true })
    await chown(join(directory, name), AGENT_UID, AGENT_UID)
  }
  await writeFile(join(directory, 'policy.toml'), POLICY, { mode: 0o644 })
}

function mountDisk(directory: string): void {
  const options = `size=4m,nr_inodes=200,mode=0755,uid=${AGENT_UID},gid=${AGENT_UID}`
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', directory])
}

// TPM and chain are looked at often, so that faults are met soon.
function configOf(directory: string, auditFile: string): string {
  return `tpm.recheck_seconds = 1
policy.file = ${JSON.stringify(join(directory, 'policy.toml'))}
audit.file = ${JSON.stringify(auditFile)}
audit.checkpoint_seconds = 5
`
}

/** Waits until it holds. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  boundMs: number,
): Promise<void> {
  const end = performance.now() + boundMs
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${boundMs} ms: ${holds}`)
    await sleep(20)
  }
}
