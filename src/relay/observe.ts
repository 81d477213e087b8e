import { Agent, createServer, type Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Observed } from '../admin-api.ts'
import type { Cgroups } from '../caller/cgroup-tree.ts'
import { rememberUid } from '../caller/connection.ts'
import { connectionsPerAddress } from '../caller/connections-per-address.ts'
import type { ContainerNetworks } from '../caller/container-networks.ts'
import type { Destination } from '../caller/socket-owner.ts'
import {
  CONTAINED_CONNECTIONS_MAX,
  containedOf,
  tcpPeer,
  wasGoingTo,
} from '../caller/tcp-caller.ts'
import { MetabindError } from '../errors.ts'
import { guardConnections } from '../http/admission.ts'
import { guardRequests } from '../http/pipelining.ts'
import { HEADERS_READ_MAX, hasTooManyHeaders } from '../http/request-order.ts'
import { type HttpBounds, serverBounds } from '../http/server.ts'
import type { Limits } from './limits.ts'
import {
  type ObservedTable,
  type ObservedTableDeps,
  observedTable,
  type Who,
} from './observed-table.ts'
import { passOn, type Way } from './pass-through.ts'

/**
 * Observing mode: redirected requests are passed on to the metadata service as they are and nothing
 * is refused; who sent them, and whether with a token, is counted. For the time before lockdown.
 */

export interface Observer {
  /** For callers on the host. */
  readonly server: Server
  /** For callers in containers with a network of their own. */
  readonly containersServer: Server
  /** Oldest first. */
  seen(): readonly Observed[]
}

export interface ObserverDeps extends ObservedTableDeps {
  readonly destination: Destination
  readonly bounds: HttpBounds
  /** Connections per user, counted together with those on the socket. */
  readonly limits: Pick<Limits, 'admit' | 'leave'>
  /** The same for users in containers, who are others than those of the host. */
  readonly containersLimits: Pick<Limits, 'admit' | 'leave'>
  readonly cgroups: Cgroups
  readonly networks: ContainerNetworks
  /** Called for each connection that a rule brought here. */
  readonly onRedirected: () => void
}

interface Passage extends Way {
  readonly who: Who
}

/** Names who is on the other end; undefined if the connection may not stay. */
type Name = (socket: Socket) => Who | undefined | Promise<Who | undefined>

/** What one counts for: two connections over TCP, and what is on its way between them in both directions. */
export const SHARES_OF_PASSAGE = 16
/** In a container, and in which cannot be told. */
const NO_CONTAINER = 'none'

export function observer(deps: ObserverDeps): Observer {
  const table = observedTable(deps)
  const mayStay = connectionsPerAddress(CONTAINED_CONNECTIONS_MAX)
  const inContainers: Name = (socket) =>
    mayStay(socket) ? whoInContainer(socket, deps) : undefined
  const ofContainers = { ...deps, limits: deps.containersLimits }
  return {
    server: observingServer(deps, table, (socket) => whoIs(socket, deps)),
    containersServer: observingServer(ofContainers, table, inContainers),
    seen: table.seen,
  }
}

function observingServer(deps: ObserverDeps, table: ObservedTable, name: Name): Server {
  const passages = new WeakMap<Socket, Passage>()
  const server = createServer(serverBounds(deps.bounds))
  server.maxConnections = deps.bounds.connections
  server.maxHeadersCount = HEADERS_READ_MAX
  const open = (socket: Socket, who: Who | undefined): void => {
    const passage = who && openPassage(socket, who, deps)
    if (passage === undefined) socket.destroy()
    else passages.set(socket, passage)
  }
  guardConnections(server, deps.bounds, (socket) => {
    const named = name(socket)
    return named instanceof Promise ? named.then((who) => open(socket, who)) : open(socket, named)
  })
  server.on('request', (incoming, response) => {
    const passage = passages.get(incoming.socket)
    if (passage === undefined || hasTooManyHeaders(incoming)) return void response.destroy()
    table.add(passage.who, incoming)
    try {
      passOn(incoming, response, passage)
    } catch {
      // What Node parses but does not send, such as two Hosts; the caller's bytes end no agent.
      response.destroy()
    }
  })
  guardRequests(server)
  return server
}

/** @returns undefined for a connection that is beyond its user's share */
function openPassage(socket: Socket, who: Who, deps: ObserverDeps): Passage | undefined {
  deps.onRedirected()
  const { uid } = who
  if (socket.destroyed) return undefined
  const admitted = deps.limits.admit(uid, SHARES_OF_PASSAGE, () => isHostRoot(who))
  if (admitted === undefined) return undefined
  if (uid !== undefined) rememberUid(socket, uid)
  const upstream = new Agent({ keepAlive: true, maxSockets: 1 })
  const gone = new AbortController()
  socket.once('close', () => {
    deps.limits.leave(admitted)
    gone.abort()
    upstream.destroy()
  })
  return { who, to: deps.destination, upstream, gone: gone.signal }
}

function isHostRoot({ uid, container, network, isPlaced }: Who): boolean {
  return uid === 0 && network === 'host' && isPlaced && container === undefined
}

function whoIs(socket: Socket, deps: ObserverDeps): Who | undefined {
  if (!wasGoingTo(socket, deps.destination)) return undefined
  const { uid, place } = tcpPeer(socket, deps.destination, deps.cgroups)
  const isPlaced = !(place instanceof MetabindError)
  const { unit, container } = isPlaced ? place : {}
  return { uid, unit, container, network: 'host', isPlaced }
}

/** Nobody if no container has the connection: nothing is passed on for what may be another machine. */
async function whoInContainer(socket: Socket, deps: ObserverDeps): Promise<Who | undefined> {
  const found = await containedOf(socket, deps.destination, deps.networks)
  if (found === undefined) return undefined
  const { uid, container = NO_CONTAINER } = found
  return { uid, unit: undefined, container, network: 'own', isPlaced: true }
}
