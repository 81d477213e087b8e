import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { startSwtpm } from '../native/tpm2-js/test/swtpm.ts'
import { startSimulator } from '../src/simulate/simulator.ts'
import { layLibrary } from '../test/harness/library.ts'
import { unitLimits } from '../test/harness/unit-file.ts'
import type { Server } from './servers.ts'

export const TTL_HEADER = 'X-aliyun-ecs-metadata-token-ttl-seconds'
export const TOKEN_HEADER = 'X-aliyun-ecs-metadata-token'
const READY_MS_MAX = 30_000

/** An agent as it is packaged, with a software TPM and a simulated cloud. Its log goes to a file. */
export interface BenchAgent extends Server {
  readonly admin: string
  readonly pid: number
  readonly upstream: string
  readonly readyMs: number
  /** A token of this agent, good for six hours. */
  token(): Promise<string>
}

let laid: Promise<string> | undefined

/** What the package installs below /usr/lib, made once a run. */
export function library(): Promise<string> {
  laid ??= mkdtemp(join(tmpdir(), 'metabind-library-')).then((directory) => {
    process.once('exit', () => rmSync(directory, { recursive: true, force: true }))
    return layLibrary(directory)
  })
  return laid
}

/** What its unit starts. */
async function daemonCommand(): Promise<readonly string[]> {
  const directory = await library()
  return [join(directory, 'bin/node'), ...unitLimits().v8Flags, join(directory, 'metabindd.cjs')]
}

/**
 * Starts an agent and waits for its first answer.
 *
 * @param config TOML, behind what names its sockets and directories
 * @param through what to put before its command
 */
export async function startAgent(
  directory: string,
  config = '',
  through: readonly string[] = [],
): Promise<BenchAgent> {
  const at = (name: string) => join(directory, name)
  for (const name of ['tpm', 'run', 'state']) mkdirSync(at(name), { recursive: true })
  const tpm = await startSwtpm({ dir: at('tpm') })
  const cloud = await startSimulator({ role: 'bench' })
  writeFileSync(at('cloud.pem'), cloud.certificatePem)
  writeFileSync(at('agent.toml'), `${configOf(directory, tpm.tcti, cloud.url)}\n${config}`)
  const log = openSync(at('agent.log'), 'w')
  const [file = '', ...args] = [
    ...through,
    ...(await daemonCommand()),
    '--config',
    at('agent.toml'),
  ]
  const startedAtMs = performance.now()
  const env = { ...process.env, ...unitLimits().environment }
  const child = spawn(file, args, { stdio: ['ignore', log, log], env })
  closeSync(log)
  const socket = at('metadata.sock')
  const isReady = () =>
    ask(socket, 'GET', '/').then(
      () => true,
      () => false,
    )
  while (!(await isReady())) {
    if (performance.now() - startedAtMs > READY_MS_MAX) {
      throw new Error(`the agent did not become ready: ${readFileSync(at('agent.log'), 'utf8')}`)
    }
    await sleep(5)
  }
  const readyMs = performance.now() - startedAtMs
  const pid = child.pid ?? 0
  return {
    ...{
      name: 'metabind',
      socket,
      admin: at('admin.sock'),
      pid,
      pids: [pid],
      readyMs,
      upstream: cloud.url,
    },
    token: () => ask(socket, 'PUT', '/latest/api/token', { [TTL_HEADER]: '21600' }),
    stop: async () => {
      child.kill('SIGTERM')
      await new Promise((resolve) => child.once('exit', resolve))
      await cloud.close()
      await tpm.stop()
    },
  }
}

/** What an agent in a directory is told of its TPM, its cloud and its files. */
export function configOf(directory: string, tcti: string, endpoint: string): string {
  const quoted = (name: string) => JSON.stringify(join(directory, name))
  return `tpm.tcti = ${JSON.stringify(tcti)}
source.endpoint = ${JSON.stringify(endpoint)}
source.identity_certificate = ${quoted('cloud.pem')}
listen.metadata_socket = ${quoted('metadata.sock')}
listen.admin_socket = ${quoted('admin.sock')}
directories.runtime = ${quoted('run')}
directories.state = ${quoted('state')}
`
}

/** One request. @returns the body @throws if nobody answers */
export function ask(
  where: string,
  method: string,
  path: string,
  headers: Record<string, string> = {},
): Promise<string> {
  const to = where.startsWith('http')
    ? { host: '127.0.0.1', port: new URL(where).port }
    : { socketPath: where }
  return new Promise((resolve, reject) => {
    const asked = request({ ...to, method, path, headers, agent: false }, (answer) => {
      buffer(answer).then((body) => resolve(body.toString()), reject)
    })
    asked.on('error', reject)
    asked.end()
  })
}

/** A token of the cloud itself, for the bare relay. */
export function upstreamToken(url: string): Promise<string> {
  return ask(url, 'PUT', '/latest/api/token', { [TTL_HEADER]: '21600' })
}

/** Limits that no measurement meets. */
export const NO_LIMITS = `[limits]
mint_burst = 1000000
mints_per_second = 1000000
miss_burst = 1000000
misses_per_second = 1000000
`
