import { once } from 'node:events'
import { type Agent, type IncomingHttpHeaders, request } from 'node:http'
import { buffer } from 'node:stream/consumers'

/** What was answered to an ordinary call. */
export interface Answered {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  readonly bytes: Buffer
}

export interface Call {
  readonly method?: string
  readonly path: string
  /** Name, value, name, value: repeated ones are sent as they are. */
  readonly headers?: readonly string[]
  readonly body?: string
  /** Keeps connections open between calls; without it each call has its own. */
  readonly agent?: Agent
}

export const TTL_HEADER = 'X-aliyun-ecs-metadata-token-ttl-seconds'
export const TOKEN_HEADER = 'X-aliyun-ecs-metadata-token'
export const TOKEN_PATH = '/latest/api/token'
export const INSTANCE_ID_PATH = '/latest/meta-data/instance-id'

/** One call over a Unix socket with node:http's client; the path goes out as it is given. */
export async function call(socketPath: string, asked: Call): Promise<Answered> {
  const { method = 'GET', path, headers = [], body, agent = false } = asked
  // Without it node:http would send an empty body in chunks; the SDKs say that there is none.
  const hasLength = body !== undefined || ['PUT', 'POST', 'PATCH'].includes(method)
  const length = hasLength ? ['Content-Length', String(Buffer.byteLength(body ?? ''))] : []
  const outgoing = request({
    socketPath,
    method,
    path,
    headers: ['Host', 'localhost', ...length, ...headers],
    agent,
  })
  outgoing.end(body)
  const [incoming] = await once(outgoing, 'response')
  const bytes = await buffer(incoming)
  return { status: incoming.statusCode, headers: incoming.headers, body: bytes.toString(), bytes }
}

export function putToken(
  socketPath: string,
  headers: readonly string[],
  agent?: Agent,
): Promise<Answered> {
  return call(socketPath, {
    method: 'PUT',
    path: TOKEN_PATH,
    headers,
    ...(agent === undefined ? {} : { agent }),
  })
}

/** A token; an error if none is given. */
export async function makeToken(socketPath: string, ttlSeconds = 600): Promise<string> {
  const answered = await putToken(socketPath, [TTL_HEADER, String(ttlSeconds)])
  if (answered.status !== 200) throw new Error(`no token: ${answered.status} ${answered.body}`)
  return answered.body
}

/** Reads `path` with `token`, or without one. */
export function read(socketPath: string, path: string, token?: string): Promise<Answered> {
  return call(socketPath, { path, headers: token === undefined ? [] : [TOKEN_HEADER, token] })
}

/** Reads `path` past the cache, which only root may ask for. */
export function readFresh(socketPath: string, path: string, token: string): Promise<Answered> {
  const headers = [TOKEN_HEADER, token, 'Cache-Control', 'no-cache']
  return call(socketPath, { path, headers })
}

/** Status and code, which is what a refusal is compared by: `403 TOKEN_MISSING`. */
export function refusal(answered: { readonly status: number; readonly body: string }): string {
  return `${answered.status} ${answered.body.split(':', 1)[0]}`
}

/** How many connections an agent has admitted to its metadata socket. */
export async function connectionsOpen(adminSocket: string): Promise<number> {
  const { body } = await call(adminSocket, { path: '/metabind/v1/metrics' })
  return Number(/^metabind_connections (\d+)$/m.exec(body)?.[1])
}
