import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { APP, type Guarded, startGuarded } from '../harness/guarded.ts'
import { asUser } from '../harness/networks.ts'
import { type LineProcess, startLineProcess } from './line-process.ts'

/** The unmodified clients of EC2's metadata service, as a user of a guarded host. */

const at = (name: string) => fileURLToPath(new URL(name, import.meta.url))
// The distribution's own, whatever else the machine has: that is what is compared here.
const PYTHON = '/usr/bin/python3'
const AWSCLI = '/usr/bin/aws'
const COMMANDS = {
  javascript: [process.execPath, at('use-aws.cjs')],
  botocore: [PYTHON, '-B', at('use-botocore.py')],
} as const

export const isDebianWithBotocore = existsSync('/usr/lib/python3/dist-packages/botocore')
export const isDebianWithAwscli = existsSync('/usr/lib/python3/dist-packages/awscli')
export const SERVICE = 'http://169.254.169.254'

/** What a client got: credentials, a value, or the message of its error. */
export interface Got {
  readonly accessKeyId?: string
  readonly secretAccessKey?: string
  readonly sessionToken?: string
  /** How botocore found them. */
  readonly method?: string
  readonly value?: string
  readonly error?: string
  readonly status?: number
}

interface ClientOptions {
  readonly env?: Readonly<Record<string, string>>
  /** More commands before the client, such as `metabind exec`. */
  readonly through?: readonly string[]
  readonly uid?: number
}

export interface AwsClients {
  readonly guarded: Guarded
  /** Starts an application that asks one client after the other. */
  open(kind: keyof typeof COMMANDS, options?: ClientOptions): LineProcess<Got>
  /** `aws configure export-credentials`, which prints the credentials that its chain finds. */
  awscli(options?: ClientOptions): Promise<Got>
  /** Ends the applications that were opened. */
  endAll(): Promise<void>
  stop(): Promise<void>
}

export async function startAws(config?: string): Promise<AwsClients> {
  const guarded = await startGuarded({ cloud: 'ec2', ...(config !== undefined && { config }) })
  const opened: LineProcess<Got>[] = []
  const command = (of: readonly string[], { env, through = [] }: ClientOptions) => {
    const variables = Object.entries({ HOME: '/nonexistent', PATH: '/usr/bin:/bin', ...env })
    return ['env', '-i', ...variables.map((pair) => pair.join('=')), ...through, ...of]
  }
  const endAll = async () => {
    await Promise.all(opened.splice(0).map((one) => one.end()))
  }
  return {
    guarded,
    open: (kind, options = {}) => {
      const prefix = [...guarded.networks.hostPrefix, ...asUser(options.uid ?? APP)]
      const started = startLineProcess<Got>([...prefix, ...command(COMMANDS[kind], options)])
      opened.push(started)
      return started
    },
    awscli: async (options = {}) => {
      const args = [AWSCLI, 'configure', 'export-credentials']
      const run = guarded.networks.inHost(options.uid ?? APP, ...command(args, options))
      return run.then(fromProcess, (error) => ({ error: String(error.stderr) }))
    },
    endAll,
    stop: async () => {
      await endAll()
      await guarded.stop()
    },
  }
}

/** The AWS CLI prints what a credential_process does. */
function fromProcess(said: string): Got {
  const { AccessKeyId, SecretAccessKey, SessionToken } = JSON.parse(said)
  return {
    accessKeyId: AccessKeyId,
    secretAccessKey: SecretAccessKey,
    sessionToken: SessionToken,
  }
}
