import type { Server } from 'node:http'
import type { Socket } from 'node:net'

const LOOKS_EVERY_MS = 1000

/** A connection with bytes that the kernel does not take, because nobody reads them at the other end. */
interface Stalled {
  queuedBytes: number
  looks: number
}

/**
 * Closes connections whose peer has stopped reading: it holds answers in our memory. One that reads slowly
 * stays, as long as it reads at all.
 *
 * @param unreadMsMax how long it may read nothing; looked at once a second
 */
export function closeUnread(server: Server, unreadMsMax: number): (socket: Socket) => void {
  const open = new Map<Socket, Stalled>()
  const looksMax = Math.ceil(unreadMsMax / LOOKS_EVERY_MS)
  const look = () => {
    for (const [socket, stalled] of open) {
      if (hasStopped(socket, stalled) && stalled.looks > looksMax) socket.destroy()
    }
  }
  const looking = setInterval(look, LOOKS_EVERY_MS).unref()
  server.once('close', () => clearInterval(looking))
  return (socket) => {
    open.set(socket, { queuedBytes: 0, looks: 0 })
    socket.once('close', () => open.delete(socket))
  }
}

/** Whether nothing was taken since the last look; counts those looks in a row. */
function hasStopped(socket: Socket, stalled: Stalled): boolean {
  const queuedBytes = socket.writableLength === 0 ? 0 : queuedIn(socket)
  const isSame = queuedBytes > 0 && queuedBytes === stalled.queuedBytes
  stalled.queuedBytes = queuedBytes
  stalled.looks = isSame ? stalled.looks + 1 : 0
  return isSame
}

/** Bytes that the kernel has not taken. Node has no public name for it; its own time-out of sockets reads the same. */
function queuedIn(socket: Socket): number {
  const { _handle: handle } = socket as unknown as {
    readonly _handle: { readonly writeQueueSize?: number } | null
  }
  return handle?.writeQueueSize ?? 0
}
