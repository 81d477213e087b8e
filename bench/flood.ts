import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { ask, startAgent, TOKEN_HEADER } from './agent.ts'
import { type Row, round } from './compare.ts'
import { type Load, load } from './load.ts'
import { median } from './process.ts'
import { bareNode, type Server } from './servers.ts'

const CONNECT_FLOOD = fileURLToPath(new URL('./connect-flood.ts', import.meta.url))
const NOBODY = 65_534
const ROUNDS = 3
const SECONDS = 3
const PATH = '/latest/meta-data/instance-id'
const TOKEN_PATH = '/latest/api/token'
const TTL = { 'X-aliyun-ecs-metadata-token-ttl-seconds': '60' }

/** What the other user does, for so many seconds. */
type Flood = (seconds: number) => Promise<unknown>

const MISSES = Array.from({ length: 10_000 }, (_, at) => `/latest/meta-data/absent-${at}`)

/** How much does a user who floods slow the requests of another one? */
export async function flood(directory: string): Promise<Row[]> {
  if (process.getuid?.() !== 0) {
    return [{ question: 'flood', subject: 'needs root, to be two users', values: {} }]
  }
  const agent = await startAgent(directory, '[limits]\nconnections_per_uid = 256\n')
  const own = { [TOKEN_HEADER]: await agent.token() }
  const body = Buffer.from(await ask(agent.socket, 'GET', PATH, own))
  const bare = await bareNode(directory, body)
  const other = { [TOKEN_HEADER]: tokenOf(agent.socket, directory) }
  const by = (server: Server, ask: Partial<Load>): Flood => {
    const { socket } = server
    return (seconds) => load({ ...ask, socket, seconds, directory, connections: 64, uid: NOBODY })
  }
  const floods: Readonly<Record<string, readonly [Server, Flood | undefined]>> = {
    'bare node:http, alone': [bare, undefined],
    'bare node:http, other reads': [bare, by(bare, { path: PATH })],
    'metabind, alone': [agent, undefined],
    'other reads': [agent, by(agent, { path: PATH, headers: other })],
    'other reads what is not cached': [agent, by(agent, { paths: MISSES, headers: other })],
    'other makes tokens': [agent, by(agent, { path: TOKEN_PATH, method: 'PUT', headers: TTL })],
    'other sends wrong tokens': [agent, by(agent, { headers: { [TOKEN_HEADER]: 'x' } })],
    'other opens connections': [agent, (seconds) => openConnections(agent.socket, seconds)],
  }
  try {
    return await measureAll(floods, own, directory)
  } finally {
    await bare.stop()
    await agent.stop()
  }
}

async function measureAll(
  floods: Readonly<Record<string, readonly [Server, Flood | undefined]>>,
  headers: Record<string, string>,
  directory: string,
): Promise<Row[]> {
  const p99: Record<string, number[]> = {}
  const p50: Record<string, number[]> = {}
  for (let turn = 0; turn < ROUNDS; turn += 1) {
    for (const [name, [server, other]] of Object.entries(floods)) {
      const { socket } = server
      const flooding = other?.(SECONDS + 1)
      await new Promise((resolve) => setTimeout(resolve, 500))
      const victim = await load({
        socket,
        path: '/metabind/v1/whoami',
        headers,
        connections: 1,
        seconds: SECONDS - 1,
        directory,
      })
      await flooding
      p99[name] = [...(p99[name] ?? []), victim.p99Ms]
      p50[name] = [...(p50[name] ?? []), victim.p50Ms]
    }
  }
  return Object.keys(floods).map((name) => ({
    question: 'flood',
    subject: name,
    values: { 'p50 ms': round(median(p50[name] ?? [])), 'p99 ms': round(median(p99[name] ?? [])) },
  }))
}

async function openConnections(socket: string, seconds: number): Promise<void> {
  const user = { uid: NOBODY, gid: NOBODY, cwd: '/' }
  const child = spawn(process.execPath, [CONNECT_FLOOD, socket, String(seconds)], user)
  await once(child, 'exit')
}

/** A token that nobody made: tokens are bound to the uid that asked. */
function tokenOf(socket: string, directory: string): string {
  const args = ['-s', '-XPUT', '-H', 'X-aliyun-ecs-metadata-token-ttl-seconds: 3600']
  const url = 'http://metadata/latest/api/token'
  return execFileSync('curl', [...args, '--unix-socket', socket, url], {
    ...{ uid: NOBODY, gid: NOBODY, cwd: '/', encoding: 'utf8', env: { HOME: directory } },
  })
}
