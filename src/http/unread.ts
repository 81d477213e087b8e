import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { connectionOf } from '../caller/connection.ts'
import { LOOKS_EVERY_MS, lookAtOpen } from './open-connections.ts'

/**
 * Closes connections whose peer has stopped reading: it holds answers in our memory. One that reads slowly
 * stays, as long as it reads at all.
 *
 * @param unreadMsMax how long it may read nothing; looked at once a second
 */
export function closeUnread(server: Server, unreadMsMax: number): void {
  const looksMax = Math.ceil(unreadMsMax / LOOKS_EVERY_MS)
  lookAtOpen(server, (socket) => {
    if (unreadLooks(socket) > looksMax) socket.destroy()
  })
}

/** @returns how many looks in a row nothing was taken, with this one */
function unreadLooks(socket: Socket): number {
  const connection = connectionOf(socket)
  const bytes = socket.writableLength === 0 ? 0 : queuedIn(socket)
  const isSame = bytes > 0 && bytes === connection.unreadBytes
  connection.unreadBytes = bytes
  connection.unreadLooks = isSame ? connection.unreadLooks + 1 : 0
  return connection.unreadLooks
}

/** Bytes that the kernel has not taken. Node has no public name for it; its own time-out of sockets reads the same. */
function queuedIn(socket: Socket): number {
  const { _handle: handle } = socket as unknown as {
    readonly _handle: { readonly writeQueueSize?: number } | null
  }
  return handle?.writeQueueSize ?? 0
}
