import { execFile } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)
// Beyond what any of them is run for.
const SECONDS_MAX = 60
const REQUESTS_MAX = 10_000_000
const NEW_CONNECTIONS = fileURLToPath(new URL('./new-connections.ts', import.meta.url))

/** What a server is asked: HTTP/1.1 on a Unix socket. */
export interface Load {
  readonly socket: string
  readonly path?: string
  /** Instead of one path: each in turn. */
  readonly paths?: readonly string[]
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly connections: number
  /** A new connection for each request; h2load, which keeps them, does not do that. */
  readonly isNewEach?: boolean
  readonly seconds?: number
  readonly requests?: number
  readonly uid?: number
  /** For input and log files. */
  readonly directory: string
}

export interface Loaded {
  readonly requests: number
  /** Requests by the first digit of their status. */
  readonly statuses: Readonly<Record<string, number>>
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
}

let count = 0

/** Loads a server and waits for the end. */
export async function load(what: Load): Promise<Loaded> {
  if (what.isNewEach) return loadByNewConnections(what)
  count += 1
  const name = join(what.directory, `h2load-${process.pid}-${count}`)
  const log = `${name}.log`
  const paths = what.paths ?? [what.path ?? '/']
  writeFileSync(`${name}.in`, `${paths.map((path) => `http://metadata${path}`).join('\n')}\n`)
  const startedAtMs = performance.now()
  try {
    await run('h2load', argumentsOf(what, name, log), {
      maxBuffer: 1e8,
      timeout: 300_000,
      ...(what.uid === undefined ? {} : { uid: what.uid, gid: what.uid, cwd: '/' }),
    })
    const seconds = what.seconds ?? (performance.now() - startedAtMs) / 1000
    return summary(readFileSync(log, 'latin1'), seconds)
  } finally {
    rmSync(log, { force: true })
    rmSync(`${name}.in`, { force: true })
  }
}

async function loadByNewConnections(what: Load): Promise<Loaded> {
  const { method = 'GET', path = '/', headers = {} } = what
  const { seconds = SECONDS_MAX, requests = REQUESTS_MAX } = what
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const text = `${method} ${path} HTTP/1.1\r\nHost: metadata\r\nConnection: close\r\n${lines.join('')}\r\n`
  const args = [
    NEW_CONNECTIONS,
    what.socket,
    text,
    ...[what.connections, seconds, requests].map(String),
  ]
  const { stdout } = await run(process.execPath, args)
  return JSON.parse(stdout) as Loaded
}

function argumentsOf(what: Load, name: string, log: string): string[] {
  const headers = { ...what.headers, ...(what.method ? { ':method': what.method } : {}) }
  return [
    ...['--h1', '-t1', '-c', String(what.connections), `--base-uri=unix:${what.socket}`],
    ...(what.seconds === undefined
      ? ['-n', String(what.requests)]
      : ['-D', String(what.seconds), '--warm-up-time', '0']),
    ...Object.entries(headers).flatMap(([header, value]) => ['-H', `${header}: ${value}`]),
    ...['-i', `${name}.in`, `--log-file=${log}`],
  ]
}

/** Lines of h2load's log: start in µs, status, duration in µs. */
function summary(log: string, seconds: number): Loaded {
  const durations: number[] = []
  const statuses: Record<string, number> = {}
  for (const line of log.split('\n')) {
    const [, status, us] = line.split('\t')
    if (status === undefined || us === undefined) continue
    const kind = `${status.slice(0, 1)}xx`
    statuses[kind] = (statuses[kind] ?? 0) + 1
    durations.push(Number(us) / 1000)
  }
  durations.sort((one, other) => one - other)
  const quantile = (part: number) => durations[Math.floor(durations.length * part)] ?? Number.NaN
  return {
    requests: durations.length,
    statuses,
    perSecond: durations.length / seconds,
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
  }
}
