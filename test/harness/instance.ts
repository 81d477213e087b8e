import { existsSync } from 'node:fs'
import { copyFile, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import type { DialectName } from '../../src/format/dialect-name.ts'
import { CLOUDS } from '../../src/simulate/clouds.ts'
import { type Simulator, startSimulator } from '../../src/simulate/simulator.ts'
import { type AgentOptions, type AgentProcess, startAgentProcess } from './agent.ts'

/** A whole instance on this machine: a TPM, a metadata server of the cloud, and an agent. */
export interface Instance {
  readonly directory: string
  readonly metadataSocket: string
  readonly adminSocket: string
  readonly runtimeDirectory: string
  readonly stateDirectory: string
  readonly tpm: Swtpm
  /** The cloud's metadata server; undefined if another one was named. */
  readonly cloud: Simulator | undefined
  readonly agent: AgentProcess
  /** Ends the agent, by SIGTERM unless told otherwise, and starts another on the same everything. */
  restartAgent(signal?: NodeJS.Signals): Promise<void>
  /** As a reboot does: the agent ends, the runtime directory is lost, the TPM is reset. */
  reboot(): Promise<void>
  stop(): Promise<void>
}

export interface InstanceOptions {
  readonly instanceId?: string | undefined
  /** More configuration, as TOML: keys in it win. */
  readonly config?: string | undefined
  /** More configuration files, after that. */
  readonly configFiles?: readonly string[]
  /** Another metadata server than one of its own. */
  readonly source?: string | undefined
  /** Gives a new TPM endorsement certificates, as a manufacturer does; `anchors/` is what they lead to. */
  readonly certified?: boolean
  readonly role?: string
  /** The cloud that it is an instance of; `aliyun` when left out. */
  readonly cloud?: DialectName
  readonly agent?: AgentOptions
}

const isRoot = process.getuid?.() === 0
// Without a policy only root reads what is secret, and tests may be another user's.
const POLICY = `[[rule]]
effect = "allow"
users = [${process.getuid?.()}]
paths = ["/**"]
`

/** Starts an instance in `directory`, on what is there from before, and waits until it is ready. */
export async function startInstance(
  directory: string,
  options: InstanceOptions = {},
): Promise<Instance> {
  const at = (name: string) => join(directory, name)
  for (const name of ['tpm', 'run', 'state']) await mkdir(at(name), { recursive: true })
  const setup = options.certified === true && !existsSync(at('anchors'))
  const tpm = await startSwtpm({ dir: at('tpm'), setup })
  if (setup) await keepAnchors(at('tpm/ca'), at('anchors'))
  const cloud =
    options.source === undefined
      ? await startSimulator({
          cloud: CLOUDS[options.cloud ?? 'aliyun'],
          instanceId: options.instanceId,
          role: options.role ?? 'demo-role',
          control: true,
        })
      : undefined
  const configs = await writeConfigs(directory, options, tpm.tcti, cloud)
  const launch = () => startAgentProcess(configs, { logFile: at('agent.log'), ...options.agent })
  let agent = launch()
  const restarted = async (): Promise<void> => {
    agent = launch()
    await agent.ready()
  }
  const stop = async (): Promise<void> => {
    await agent.stop()
    await cloud?.close()
    await tpm.stop()
  }
  try {
    await agent.ready()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    directory,
    metadataSocket: at('metadata.sock'),
    adminSocket: at('admin.sock'),
    runtimeDirectory: at('run'),
    stateDirectory: at('state'),
    tpm,
    cloud,
    get agent() {
      return agent
    },
    restartAgent: async (signal) => {
      await agent.stop(signal)
      await restarted()
    },
    reboot: async () => {
      await agent.stop()
      await rm(at('run'), { recursive: true })
      await mkdir(at('run'))
      await tpm.reset()
      await restarted()
    },
    stop,
  }
}

/** The certificates of the authority, without its keys. */
async function keepAnchors(authority: string, anchors: string): Promise<void> {
  await mkdir(anchors, { recursive: true })
  for (const file of ['issuercert.pem', 'swtpm-localca-rootca-cert.pem']) {
    await copyFile(join(authority, file), join(anchors, file))
  }
}

async function writeConfigs(
  directory: string,
  options: InstanceOptions,
  tcti: string,
  cloud: Simulator | undefined,
): Promise<string[]> {
  const own = join(directory, 'instance.toml')
  if (!isRoot) await writeFile(join(directory, 'policy-of-tests.toml'), POLICY, { mode: 0o600 })
  if (cloud !== undefined) await writeFile(join(directory, 'cloud.pem'), cloud.certificatePem)
  await writeFile(own, instanceConfig(directory, tcti, options, cloud))
  if (options.config === undefined) return [own, ...(options.configFiles ?? [])]
  const more = join(directory, 'more.toml')
  await writeFile(more, options.config)
  return [own, more, ...(options.configFiles ?? [])]
}

function instanceConfig(
  directory: string,
  tcti: string,
  options: InstanceOptions,
  cloud: Simulator | undefined,
): string {
  const quoted = (path: string) => JSON.stringify(join(directory, path))
  // Who signs the documents of another metadata server is not known here: --config can say it.
  const documents =
    cloud === undefined
      ? 'identity_document = "ignore"'
      : `identity_certificate = ${quoted('cloud.pem')}`
  return `[tpm]
tcti = ${JSON.stringify(tcti)}

[source]
dialect = ${JSON.stringify(options.cloud ?? 'aliyun')}
endpoint = ${JSON.stringify(options.source ?? cloud?.url)}
${documents}
${isRoot ? '' : `\n[policy]\nfile = ${quoted('policy-of-tests.toml')}\n`}
[listen]
metadata_socket = ${quoted('metadata.sock')}
admin_socket = ${quoted('admin.sock')}

[directories]
runtime = ${quoted('run')}
state = ${quoted('state')}
`
}
