import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { connectionOf } from '../caller/connection.ts'

const open = new WeakMap<Server, Set<Socket>>()

/** The connections of a server that may stay, until each is closed. node:http has no public name for them. */
export function openConnections(server: Server): ReadonlySet<Socket> {
  return open.get(server) ?? new Set()
}

export function keepOpen(server: Server, socket: Socket): void {
  const sockets = open.get(server) ?? new Set()
  open.set(server, sockets.add(socket))
  socket.once('close', () => sockets.delete(socket))
}

/**
 * For how long nothing has been asked on a connection: no request arrives, none waits for its answer, and
 * each answer has been handed to the kernel. Begins anew with each request.
 *
 * @param sinceMs since the last look. A process that was kept from looking counts no more than that, as its
 *   peers were kept from asking.
 */
export function quietMs(socket: Socket, sinceMs: number): number {
  const connection = connectionOf(socket)
  const isAsked = (connection.requestsUnderWay ?? 0) > 0 || isArriving(socket)
  connection.quietMs = isAsked || socket.writableLength > 0 ? 0 : connection.quietMs + sinceMs
  return connection.quietMs
}

/** Whether something was read of a request that has not begun. */
function isArriving(socket: Socket): boolean {
  return socket.bytesRead > connectionOf(socket).readBytesAtRest
}
