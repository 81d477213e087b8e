import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { connectionOf, whenClosed } from '../caller/connection.ts'

/** Looks at a connection that is open. */
type Look = (socket: Socket) => void

interface Open {
  readonly sockets: Set<Socket>
  readonly looks: Look[]
  /** Whether whoever ends the server counts for how long connections are quiet, by looks of its own. */
  isEnding: boolean
  /** Undefined while nobody is connected: an idle agent does not wake for nobody. */
  looking: NodeJS.Timeout | undefined
}

const ofServer = new WeakMap<Server, Open>()

export const LOOKS_EVERY_MS = 1000

function openOf(server: Server): Open {
  const known = ofServer.get(server)
  if (known !== undefined) return known
  const open: Open = { sockets: new Set(), looks: [], isEnding: false, looking: undefined }
  ofServer.set(server, open)
  return open
}

/** The connections of a server that may stay, until each is closed. node:http has no public name for them. */
export function openConnections(server: Server): ReadonlySet<Socket> {
  return openOf(server).sockets
}

export function keepOpen(server: Server, socket: Socket): void {
  const open = openOf(server)
  open.sockets.add(socket)
  open.looking ??= setInterval(() => lookAtAll(open), LOOKS_EVERY_MS).unref()
  whenClosed(socket, () => {
    open.sockets.delete(socket)
    if (open.sockets.size > 0) return
    clearInterval(open.looking)
    open.looking = undefined
  })
}

/** Looks at each open connection of a server once a second, while there are any. */
export function lookAtOpen(server: Server, look: Look): void {
  openOf(server).looks.push(look)
}

function lookAtAll({ sockets, looks, isEnding }: Open): void {
  for (const socket of sockets) {
    if (!isEnding) quietMs(socket, LOOKS_EVERY_MS)
    for (const look of looks) look(socket)
  }
}

/** From now on nobody counts for how long connections are quiet but the caller, or some time would count twice. */
export function countQuietAlone(server: Server): void {
  openOf(server).isEnding = true
}

/**
 * For how long nothing has been asked on a connection: no request arrives, none waits for its answer, and
 * each answer has been handed to the kernel. Begins anew with each request, and is counted from the first look that
 * finds nothing: what was asked just before a look has not been over for long.
 *
 * @param sinceMs since the last look. A process that was kept from looking counts no more than that, as its
 *   peers were kept from asking.
 */
export function quietMs(socket: Socket, sinceMs: number): number {
  const connection = connectionOf(socket)
  const isAsked = (connection.requestsUnderWay ?? 0) > 0 || isArriving(socket)
  if (isAsked || socket.writableLength > 0) connection.quietMs = undefined
  else connection.quietMs = connection.quietMs === undefined ? 0 : connection.quietMs + sinceMs
  return connection.quietMs ?? 0
}

/** Whether something was read of a request that has not begun. */
function isArriving(socket: Socket): boolean {
  return socket.bytesRead > connectionOf(socket).readBytesAtRest
}
