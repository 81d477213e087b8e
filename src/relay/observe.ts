import {
  Agent,
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { Socket } from 'node:net'
import { parseCgroup } from '../format/cgroup.ts'
import type { Cgroups } from './cgroup.ts'
import type { Dialect } from './dialect.ts'
import type { HttpBounds } from './http-server.ts'
import { type Destination, ownerOf, wasGoingTo } from './tcp-caller.ts'

/**
 * Observing mode: redirected requests are passed on to the metadata service as they are and nothing
 * is refused; who sent them, and whether with a token, is counted. For the time before lockdown.
 */

/** What one user's processes, of one unit, have asked the metadata service for directly. */
export interface Observed {
  /** Undefined where the kernel named no owner, as for a connection from a container. */
  readonly uid: number | undefined
  readonly unit: string | undefined
  readonly container: string | undefined
  /** Whether its cgroup was found: else lockdown would refuse it. */
  readonly isPlaced: boolean
  readonly tokenRequests: number
  readonly readsWithToken: number
  readonly readsWithoutToken: number
  /** The last path, without its query. */
  readonly lastPath: string
  /** UTC, ISO 8601. */
  readonly lastSeen: string
}

export interface Observer {
  readonly server: Server
  /** Oldest first. */
  seen(): readonly Observed[]
}

export interface ObserverParts {
  readonly dialect: Dialect
  readonly destination: Destination
  readonly bounds: HttpBounds
  readonly cgroups: Cgroups
  /** Called for each connection that a rule brought here. */
  readonly onRedirected: () => void
  /** Told once for each user and unit that reads without a token. */
  readonly onTokenless: (seen: Observed) => void
}

type Who = Pick<Observed, 'uid' | 'unit' | 'container' | 'isPlaced'>

const NOBODY: Who = { uid: undefined, unit: undefined, container: undefined, isPlaced: false }

const SEEN_MAX = 1024
const UPSTREAM_CONNECTIONS_MAX = 64
const PATH_BYTES_MAX = 256
/** Of one connection, not of the message (RFC 9110, 7.6.1). */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'proxy-connection', 'upgrade', 'te'])

export function observer(parts: ObserverParts): Observer {
  const callers = new WeakMap<Socket, Who>()
  const table = observedTable(parts)
  const upstream = new Agent({ keepAlive: true, maxSockets: UPSTREAM_CONNECTIONS_MAX })
  const server = createServer({
    maxHeaderSize: parts.bounds.headerBytesMax,
    requestTimeout: parts.bounds.requestTimeoutMs,
    headersTimeout: parts.bounds.requestTimeoutMs,
    keepAliveTimeout: parts.bounds.idleTimeoutMs,
  })
  server.maxConnections = parts.bounds.connections
  server.on('connection', (socket) => {
    if (!wasGoingTo(socket, parts.destination)) {
      socket.destroy()
      return
    }
    parts.onRedirected()
    callers.set(socket, whoIs(socket, parts))
  })
  server.on('request', (incoming, response) => {
    table.add(callers.get(incoming.socket) ?? NOBODY, incoming)
    try {
      passOn(incoming, response, parts.destination, upstream)
    } catch {
      // What Node parses but does not send, such as two Hosts; the caller's bytes end no agent.
      response.destroy()
    }
  })
  server.on('close', () => upstream.destroy())
  return { server, seen: table.seen }
}

function whoIs(socket: Socket, parts: ObserverParts): Who {
  const owner = ownerOf(socket, parts.destination)
  const path = owner?.cgroupId === undefined ? undefined : parts.cgroups.pathOf(owner.cgroupId)
  const { unit, container } = path === undefined ? {} : parseCgroup(`0::${path}`)
  return { uid: owner?.uid, unit, container, isPlaced: path !== undefined }
}

/** Counts by user and unit. The one that was quiet for longest makes room. */
function observedTable(parts: ObserverParts) {
  const rows = new Map<string, Observed>()
  const add = (who: Who, incoming: IncomingMessage): void => {
    const key = `${who.uid} ${who.unit} ${who.container} ${who.isPlaced}`
    const before = rows.get(key)
    const row = counted(before, who, incoming, parts.dialect)
    rows.delete(key)
    rows.set(key, row)
    const [oldest] = rows.keys()
    if (rows.size > SEEN_MAX && oldest !== undefined) rows.delete(oldest)
    if (row.readsWithoutToken === 1 && before?.readsWithoutToken !== 1) parts.onTokenless(row)
  }
  return { add, seen: () => [...rows.values()] }
}

function counted(
  before: Observed | undefined,
  who: Who,
  incoming: IncomingMessage,
  dialect: Dialect,
): Observed {
  const path = incoming.url?.split('?', 1)[0]?.slice(0, PATH_BYTES_MAX) ?? ''
  const isTokenRequest = incoming.method === 'PUT'
  const hasToken = incoming.headers[dialect.tokenHeader] !== undefined
  return {
    ...who,
    tokenRequests: (before?.tokenRequests ?? 0) + Number(isTokenRequest),
    readsWithToken: (before?.readsWithToken ?? 0) + Number(!isTokenRequest && hasToken),
    readsWithoutToken: (before?.readsWithoutToken ?? 0) + Number(!isTokenRequest && !hasToken),
    lastPath: path,
    lastSeen: new Date().toISOString(),
  }
}

/** The same method, target, headers and body: the service judges them itself, forwarding headers too. */
function passOn(
  incoming: IncomingMessage,
  response: ServerResponse,
  { address, port }: Destination,
  agent: Agent,
): void {
  const { method = 'GET', url = '/', rawHeaders } = incoming
  // As an object: an array would be written at once, with a chunked body announced for every PUT.
  const headers = grouped(endToEnd(rawHeaders))
  const sent = request({ host: address, port, method, path: url, headers, agent })
  // As if the service itself had gone: no answer is made up for it.
  const giveUp = () => response.destroy()
  sent.on('error', giveUp)
  sent.on('response', (answer) => {
    response.writeHead(answer.statusCode ?? 502, endToEnd(answer.rawHeaders))
    answer.on('error', giveUp)
    answer.pipe(response)
  })
  response.on('close', () => sent.destroy())
  sent.useChunkedEncodingByDefault = hasBody(incoming)
  incoming.pipe(sent)
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined
}

/** Repeated headers stay repeated. */
function grouped(rawHeaders: readonly string[]): Record<string, string | string[]> {
  const found = new Map<string, string | string[]>()
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const [name = '', value = ''] = rawHeaders.slice(at, at + 2)
    const before = found.get(name)
    found.set(name, before === undefined ? value : [before, value].flat())
  }
  return Object.fromEntries(found)
}

function endToEnd(rawHeaders: readonly string[]): string[] {
  return rawHeaders.filter(
    (_, at) => !HOP_BY_HOP.has((rawHeaders[at - (at % 2)] ?? '').toLowerCase()),
  )
}
