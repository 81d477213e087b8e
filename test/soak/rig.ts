import { chmodSync, chownSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { configOf } from '../../bench/agent.ts'
import { startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { ask } from '../../src/agent-socket.ts'
import { type Simulator, startSimulator } from '../../src/simulate/simulator.ts'
import { type AgentProcess, startAgentProcess } from '../harness/agent.ts'
import { type HeldSockets, holdSockets } from '../harness/held-sockets.ts'
import { type MemoryCgroup, makeMemoryCgroup } from '../harness/memory-cgroup.ts'
import { asUser } from '../harness/networks.ts'
import { AGENT_UID } from '../harness/packaged.ts'
import { unitLimits } from '../harness/unit-file.ts'
import { laySoakLibrary } from './library.ts'
import { type CountedTpm, startCountedTpm } from './tpm-handles.ts'

const PROBE = fileURLToPath(new URL('./heap-probe.cjs', import.meta.url))
const SOCKET_MODE = 0o666
const CREDENTIAL_SECONDS = 300
const ROLE = 'soak-role'
export const ROLE_PATH = `/latest/meta-data/ram/security-credentials/${ROLE}`
/** Of the users, whom a policy lets read the role. */
export const ROLE_UIDS = [61_201, 61_202, 61_203]
export const OTHER_UIDS = [61_204, 61_205, 61_206]

/** All that a soak runs in: the agent as packaged with its sockets held, its TPM, its cloud. */
export interface Rig extends AsyncDisposable {
  readonly directory: string
  readonly library: string
  readonly sockets: { readonly metadata: string; readonly admin: string }
  readonly cloud: Simulator
  readonly tpm: CountedTpm
  readonly cgroup: MemoryCgroup | undefined
  readonly auditFile: string
  readonly agent: () => AgentProcess
  /** Starts the agent of what `library` has now, and waits until it is ready. */
  start(): Promise<void>
  heap(): unknown
  metrics(): Promise<string>
  writePolicy(round: number): void
}

/** @param isCollected whether V8 is made to collect before each look at its heap */
export async function openRig(directory: string, isCollected: boolean): Promise<Rig> {
  const at = (name: string) => join(directory, name)
  await using stack = new AsyncDisposableStack()
  mkdirSync(directory, { recursive: true })
  chmodSync(directory, 0o755)
  for (const name of ['tpm', 'run', 'state', 'log']) mkdirSync(at(name))
  for (const name of ['run', 'state', 'log']) chownSync(at(name), AGENT_UID, AGENT_UID)
  await laySoakLibrary(at('lib'))
  copyFileSync(PROBE, at('heap-probe.cjs'))
  const swtpm = await startSwtpm({ dir: at('tpm') })
  stack.defer(() => swtpm.stop())
  const tpm = stack.use(await startCountedTpm(swtpm))
  const cloud = stack.use(
    await startSimulator({ role: ROLE, credentialLifetimeSeconds: CREDENTIAL_SECONDS }),
  )
  const limits = unitLimits()
  const cgroup = await makeMemoryCgroup(`metabind-soak-${process.pid}`, limits.memoryBytesMax)
  stack.defer(() => cgroup?.remove())
  const sockets = { metadata: at('metadata.sock'), admin: at('admin.sock') }
  const held = holdSockets(sockets)
  stack.defer(() => held.close())
  for (const path of Object.values(sockets)) chmodSync(path, SOCKET_MODE)
  writeFileSync(at('cloud.pem'), cloud.certificatePem)
  writeFileSync(at('agent.toml'), soakConfigOf(directory, tpm.tcti, cloud.url))
  const writePolicy = (round: number) => writeFileSync(at('policy.toml'), policyOf(round))
  writePolicy(0)
  let agent: AgentProcess | undefined
  stack.defer(() => agent?.stop().then(() => undefined))
  const start = async () => {
    agent = launch(directory, held, cgroup, isCollected ? ['--expose-gc'] : [])
    await agent.ready()
  }
  const running = stack.move()
  return {
    ...{
      directory,
      library: at('lib'),
      sockets,
      cloud,
      tpm,
      cgroup,
      auditFile: at('log/audit.log'),
    },
    agent: () => {
      if (agent === undefined) throw new Error('no agent yet')
      return agent
    },
    start,
    heap: () => JSON.parse(readFileSync(at('run/heap.json'), 'utf8')),
    metrics: async () =>
      (await ask(sockets.admin, { method: 'GET', path: '/metabind/v1/metrics' })).body.toString(),
    writePolicy,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  }
}

function launch(
  directory: string,
  held: HeldSockets,
  cgroup: MemoryCgroup | undefined,
  moreFlags: readonly string[],
): AgentProcess {
  const at = (name: string) => join(directory, name)
  const { v8Flags, environment, descriptorsMax } = unitLimits()
  return startAgentProcess([at('agent.toml')], {
    logFile: at('agent.log'),
    descriptors: held.agent.descriptors ?? [],
    program: [
      at('lib/bin/node'),
      '--require',
      at('heap-probe.cjs'),
      ...[...v8Flags, ...moreFlags],
      at('lib/metabindd.cjs'),
    ],
    through: [
      ...(cgroup?.prefix ?? []),
      ...['prlimit', `--nofile=${descriptorsMax}:${descriptorsMax}`],
      ...asUser(AGENT_UID),
      ...(held.agent.through ?? []),
    ],
    env: { ...environment, ...held.agent.env, SOAK_PROBE: at('run/heap.json') },
  })
}

/** The cache is small, so that it is full before an agent is judged, and loses an entry for each that comes. */
function soakConfigOf(directory: string, tcti: string, endpoint: string): string {
  const quoted = (name: string) => JSON.stringify(join(directory, name))
  return `${configOf(directory, tcti, endpoint)}policy.file = ${quoted('policy.toml')}
audit.file = ${quoted('log/audit.log')}
audit.journal = false
audit.checkpoint_seconds = 60
cache.entries_max = 256
`
}

/** How many rules the policy of a round has: by their number it is told whether it was taken. */
export const rulesIn = (round: number) => 10 + (round % 2)

/** The same for the users whatever the round, and as large. */
function policyOf(round: number): string {
  const rules = Array.from(
    { length: rulesIn(round) - 1 },
    (_, at) =>
      `[[rule]]\nname = "rule ${at}"\neffect = "deny"\npaths = ["/latest/none/${round}-${at}"]\n`,
  )
  return `mode = "enforce"

[[rule]]
name = "the role's users"
effect = "allow"
users = [${ROLE_UIDS}]
paths = ["/**"]
${rules.join('')}`
}
