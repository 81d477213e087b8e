import { Agent, createServer, type IncomingMessage, type Server } from 'node:http'
import type { Socket } from 'node:net'
import { parseCgroup } from '../format/cgroup.ts'
import type { Cgroups } from './cgroup.ts'
import type { Dialect } from './dialect.ts'
import type { HttpBounds } from './http-server.ts'
import type { Limits } from './limits.ts'
import { passOn, type Way } from './pass-on.ts'
import { mayBegin } from './pipelined.ts'
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
  /** Connections per user, counted together with those on the socket. */
  readonly limits: Pick<Limits, 'admit' | 'leave'>
  readonly cgroups: Cgroups
  /** Called for each connection that a rule brought here. */
  readonly onRedirected: () => void
  /** Told once for each user and unit that reads without a token. */
  readonly onTokenless: (seen: Observed) => void
}

type Who = Pick<Observed, 'uid' | 'unit' | 'container' | 'isPlaced'>

interface Passage extends Way {
  readonly who: Who
}

/** Whose connections are counted together where the kernel names no owner. */
const NO_UID = -1

const SEEN_MAX = 1024
const PATH_BYTES_MAX = 256
export function observer(parts: ObserverParts): Observer {
  const passages = new WeakMap<Socket, Passage>()
  const table = observedTable(parts)
  const server = createServer({
    maxHeaderSize: parts.bounds.headerBytesMax,
    requestTimeout: parts.bounds.requestTimeoutMs,
    headersTimeout: parts.bounds.requestTimeoutMs,
    keepAliveTimeout: parts.bounds.idleTimeoutMs,
  })
  server.maxConnections = parts.bounds.connections
  server.on('connection', (socket) => {
    const passage = openPassage(socket, parts)
    if (passage === undefined) socket.destroy()
    else passages.set(socket, passage)
  })
  server.on('request', (incoming, response) => {
    const passage = passages.get(incoming.socket)
    if (passage === undefined || !mayBegin(incoming.socket, response)) return
    table.add(passage.who, incoming)
    try {
      passOn(incoming, response, passage)
    } catch {
      // What Node parses but does not send, such as two Hosts; the caller's bytes end no agent.
      response.destroy()
    }
  })
  return { server, seen: table.seen }
}

/** @returns undefined for a connection that was not redirected, or is beyond its user's share */
function openPassage(socket: Socket, parts: ObserverParts): Passage | undefined {
  if (!wasGoingTo(socket, parts.destination)) return undefined
  parts.onRedirected()
  const who = whoIs(socket, parts)
  const { uid = NO_UID } = who
  if (!parts.limits.admit(uid)) return undefined
  const upstream = new Agent({ keepAlive: true, maxSockets: 1 })
  const gone = new AbortController()
  socket.once('close', () => {
    parts.limits.leave(uid)
    gone.abort()
    upstream.destroy()
  })
  return { who, to: parts.destination, upstream, gone: gone.signal }
}

function whoIs(socket: Socket, parts: ObserverParts): Who {
  const owner = ownerOf(socket, parts.destination)
  const path =
    owner?.cgroupId === undefined ? undefined : parts.cgroups.pathOf(owner.cgroupId, owner.uid)
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
