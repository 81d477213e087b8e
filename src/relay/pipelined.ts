import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Requests of one connection that may wait for their answers together. */
const UNDER_WAY_MAX = 16

const underWay = new WeakMap<Socket, number>()

/**
 * Whether a request may begin; a connection with too many that are not answered is closed. node:http
 * begins whatever it has read, thousands of requests in one turn of the event loop, and reads on
 * until answers pile up: behind answers that are made to wait, one connection could fill the memory.
 */
export function mayBegin(socket: Socket, response: ServerResponse): boolean {
  if (socket.destroyed) return false
  const before = underWay.get(socket) ?? 0
  if (before >= UNDER_WAY_MAX) {
    socket.destroy()
    return false
  }
  underWay.set(socket, before + 1)
  response.once('close', () => underWay.set(socket, (underWay.get(socket) ?? 1) - 1))
  return true
}
