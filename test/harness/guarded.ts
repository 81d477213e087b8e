import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DIALECTS } from '../../src/dialect/dialects.ts'
import type { DialectName } from '../../src/format/dialect-name.ts'
import type { RecordedRequest } from '../../src/simulate/request-log.ts'
import { type Instance, startInstance } from './instance.ts'
import { packagedDaemon } from './library.ts'
import { asUser, type Networks, openNetworks } from './networks.ts'
import { CLI } from './programs.ts'

/** An instance in networks of its own, with the metadata service at the address of its cloud. */

/** Where it is at Alibaba Cloud. */
export const SERVICE = DIALECTS.aliyun.endpoint
/** Whom the agent runs as, and two users of the host. */
export const AGENT = 61_001
export const APP = 61_002
export const OTHER = 61_003
// The sockets of swtpm are open to its group, root's.
export const TPM_GROUP = 0

export interface Guarded {
  readonly networks: Networks
  readonly instance: Instance
  readonly directory: string
  /** The command line, in the host's network, as root unless told otherwise. */
  metabind(args: readonly string[], uid?: number): Promise<string>
  lockdown(...args: string[]): Promise<string>
  /** curl as a user of the host. */
  curl(uid: number | undefined, ...args: string[]): Promise<string>
  cloud: {
    /** What the metadata service has been asked since the last call. */
    requests(): Promise<readonly RecordedRequest[]>
    /** The same, and they will be told again. */
    recorded(): Promise<readonly RecordedRequest[]>
    /** Sets a fault; undefined clears all of them. */
    fault(fault: object | undefined): Promise<void>
    /** Ends it, as an outage does; `start` brings another up. */
    stop(): Promise<void>
    start(): Promise<void>
  }
  stop(): Promise<void>
}

export interface GuardedOptions {
  /** `aliyun` when left out. */
  readonly cloud?: DialectName
  readonly tokens?: 'required' | 'optional'
  readonly config?: string
  /** More rules of the policy, as TOML. */
  readonly rules?: string
  /** The user data of the instance; none when left out. */
  readonly userData?: string
  /** Whether the sockets for containers are held, as systemd holds them. */
  readonly holdsContainers?: boolean
  /** Where the agent and the command line of the package are; the sources are run when left out. */
  readonly library?: string
}

/**
 * Makes the sockets of metabind-containers.socket and metabind-containers-observe.socket as root, and
 * becomes the agent with them (sd_listen_fds(3)).
 */
const HOLD_CONTAINERS = `import fcntl, os, socket, sys
address = sys.argv[1]
for at, port in enumerate([80, 9181]):
    s = socket.socket()
    s.setsockopt(socket.SOL_IP, 19, 1)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, port)); s.listen(4096)
    os.dup2(fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 100), 3 + at, inheritable=True)
    s.detach()
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='2',
                  LISTEN_FDNAMES='containers:containers-observe')
os.execvp(sys.argv[2], sys.argv[2:])`

export const LISTENERS = '[transparent]\nenabled = true\n[credentials_uri]\nenabled = true\n'

// Credentials are for root alone if no rule says otherwise.
const POLICY = `[[rule]]
name = "the application reads its credentials"
effect = "allow"
users = [${APP}]
paths = ["/*/meta-data/ram/security-credentials/*", "/*/meta-data/iam/security-credentials/*"]
`

export async function startGuarded(options: GuardedOptions = {}): Promise<Guarded> {
  const cloudName = options.cloud ?? 'aliyun'
  const service = new URL(DIALECTS[cloudName].endpoint)
  const networks = await openNetworks(service.hostname)
  const directory = await mkdtemp('/tmp/guarded-')
  await chmod(directory, 0o755)
  for (const name of ['', 'run', 'state']) {
    await mkdir(join(directory, name), { recursive: true })
    await chown(join(directory, name), AGENT, AGENT)
  }
  const policyFile = join(directory, 'policy.toml')
  await writeFile(policyFile, `${POLICY}${options.rules ?? ''}`)
  const flags = ['--cloud', cloudName, '--tokens', options.tokens ?? 'required']
  if (options.userData !== undefined) {
    await writeFile(join(directory, 'user-data'), options.userData)
    flags.push('--user-data', join(directory, 'user-data'))
  }
  const cloud = cloudIn(networks, service, flags)
  await cloud.start()
  const hold = options.holdsContainers
    ? ['/usr/bin/python3', '-c', HOLD_CONTAINERS, service.hostname]
    : []
  const instance = await startInstance(directory, {
    cloud: cloudName,
    source: service.origin,
    config: `${options.config ?? LISTENERS}[policy]\nfile = "${policyFile}"\n`,
    agent: {
      through: [...networks.hostPrefix, ...hold, ...asUser(AGENT, TPM_GROUP)],
      ...(options.library === undefined ? {} : { program: packagedDaemon(options.library) }),
    },
  })
  const configs = ['instance.toml', 'more.toml'].flatMap((file) => [
    '--config',
    join(directory, file),
  ])
  const sockets = ['--socket', instance.metadataSocket, '--admin-socket', instance.adminSocket]
  const command =
    options.library === undefined ? [process.execPath, CLI] : [join(options.library, 'metabind')]
  const metabind = (args: readonly string[], uid?: number) =>
    networks.inHost(uid, ...command, ...args, ...sockets)
  return {
    networks,
    instance,
    directory,
    metabind,
    lockdown: (word, ...args) => {
      const on = word === 'on' ? [...configs, '--user', String(AGENT)] : []
      return metabind(['lockdown', word ?? '', ...on, ...args])
    },
    curl: (uid, ...args) => networks.inHost(uid, 'curl', '-sS', '--max-time', '60', ...args),
    cloud,
    stop: async () => {
      await instance.stop()
      await cloud.stop()
      await networks.stop()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

function cloudIn(networks: Networks, service: URL, flags: readonly string[]): Guarded['cloud'] {
  let end: () => Promise<void> = async () => undefined
  let known = 0
  const control = (...args: string[]) =>
    networks.inCloud('curl', '-sS', '--max-time', '60', ...args)
  const recorded = async (): Promise<readonly RecordedRequest[]> =>
    JSON.parse(await control(`${service.origin}/_simulator/requests`)).slice(known)
  return {
    recorded,
    requests: async () => {
      const fresh = await recorded()
      known += fresh.length
      return fresh
    },
    fault: async (fault) => {
      const how = fault === undefined ? ['-X', 'DELETE'] : ['-d', JSON.stringify(fault)]
      await control(...how, `${service.origin}/_simulator/faults`)
    },
    stop: () => end(),
    start: async () => {
      known = 0
      end = await startCloud(networks, ['--host', service.hostname, ...flags])
    },
  }
}

async function startCloud(
  networks: Networks,
  flags: readonly string[],
): Promise<() => Promise<void>> {
  const identity = ['--role', 'app-role', '--instance-id', 'i-bp1guarded']
  const [file = '', ...args] = [
    ...networks.cloudPrefix,
    ...['setpriv', '--pdeathsig', 'KILL', process.execPath, CLI, 'simulate'],
    ...['--port', '80', '--control'],
    ...identity,
    ...flags,
  ]
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  return async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    await exited
  }
}
