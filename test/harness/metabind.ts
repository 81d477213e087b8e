import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { type Agent, type IncomingHttpHeaders, request } from 'node:http'
import { buffer } from 'node:stream/consumers'
import type { RegistrarStatus } from '../../src/admin-api.ts'
import type { Instance } from './instance.ts'
import { CLI } from './programs.ts'
import { requireRootFor } from './root.ts'

const RUN_MS_MAX = 20_000

export const TOKEN_PATH = '/latest/api/token'
export const TTL_HEADER = 'X-aliyun-ecs-metadata-token-ttl-seconds'
export const TOKEN_HEADER = 'X-aliyun-ecs-metadata-token'
export const INSTANCE_ID_PATH = '/latest/meta-data/instance-id'
/** An account of Debian's that may do nothing. */
export const NOBODY = 65534

/** What a process left behind. */
export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  /** Standard output, byte by byte. */
  readonly bytes: Buffer
}

export interface CommandOptions {
  readonly uid?: number
  readonly stdin?: string | Buffer
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
}

type Sockets = Pick<Instance, 'metadataSocket' | 'adminSocket'>

/** Runs the real `metabind` command against an instance and waits for its end. */
export function metabind(
  sockets: Sockets,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<Finished> {
  const { metadataSocket, adminSocket } = sockets
  const env = { METABIND_SOCKET: metadataSocket, METABIND_ADMIN_SOCKET: adminSocket }
  return runNode([CLI, ...args], { ...options, env: { ...env, ...options.env } })
}

/** Runs a program of this Node to its end; one that hangs is killed and its code is null. */
export async function runNode(
  args: readonly string[],
  options: CommandOptions = {},
): Promise<Finished> {
  requireRootFor(options.uid)
  const child = spawn(process.execPath, args, {
    stdio: 'pipe',
    env: { ...process.env, ...options.env },
    timeout: RUN_MS_MAX,
    killSignal: 'SIGKILL',
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  })
  // A command that does not read its input may have gone before all of it is written.
  child.stdin.on('error', () => undefined)
  child.stdin.end(options.stdin ?? '')
  const [bytes, stderr] = await Promise.all([
    buffer(child.stdout),
    buffer(child.stderr),
    once(child, 'close'),
  ])
  return { code: child.exitCode, bytes, stdout: bytes.toString(), stderr: stderr.toString() }
}

/** An answer on a socket. */
export interface Answered {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** One request on a Unix socket. */
export function ask(
  socketPath: string,
  method: string,
  path: string,
  headers: Record<string, string> = {},
  agent?: Agent,
): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path, headers, agent }, (answer) => {
      const { statusCode: status = 0, headers: received } = answer
      buffer(answer).then(
        (body) => resolve({ status, headers: received, body: body.toString() }),
        reject,
      )
    })
    sent.on('error', reject)
    sent.end()
  })
}

/** A session token over the metadata socket. */
export async function newToken(instance: Sockets, ttlSeconds = 3600): Promise<string> {
  const ttl = { [TTL_HEADER]: String(ttlSeconds) }
  const { status, body } = await ask(instance.metadataSocket, 'PUT', TOKEN_PATH, ttl)
  if (status !== 200) throw new Error(`no token: ${status} ${body}`)
  return body
}

/** Reads metadata with a token. */
export function read(
  instance: Sockets,
  token: string,
  path: string = INSTANCE_ID_PATH,
): Promise<Answered> {
  return ask(instance.metadataSocket, 'GET', path, { [TOKEN_HEADER]: token })
}

/** The status of one read with a token: whether the token is good there. */
export async function statusOf(instance: Sockets, token: string): Promise<number> {
  return (await read(instance, token)).status
}

/** The agent's own word, over the admin socket. */
export async function agentStatus(instance: Sockets): Promise<AgentWord> {
  return JSON.parse((await ask(instance.adminSocket, 'GET', '/metabind/v1/status')).body)
}

export interface AgentWord {
  readonly state: string
  readonly ready: boolean
  readonly problem?: { readonly code: string; readonly sentence: string; readonly remedy: string }
  readonly identity?: {
    readonly iid: string
    readonly instanceId: string
    readonly ekName: string
    readonly akName: string
  }
  readonly registrar?: RegistrarStatus
}

/** A directory that every user may enter, gone at the end. Short: socket paths have 107 bytes. */
export async function scratch(): Promise<{ readonly path: string } & AsyncDisposable> {
  const path = await mkdtemp('/tmp/mb-')
  await chmod(path, 0o755)
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  }
}

/** Asks again and again until it fits. */
export async function eventually<T>(
  look: () => Promise<T>,
  fits: (seen: T) => boolean,
  waitMs = 60_000,
): Promise<T> {
  const end = Date.now() + waitMs
  for (;;) {
    const seen = await look()
    if (fits(seen)) return seen
    if (Date.now() > end) throw new Error(`not in ${waitMs} ms; last: ${JSON.stringify(seen)}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
