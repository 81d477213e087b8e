import type { Socket } from 'node:net'
import { setReceiveBuffer, setSendBuffer, socketFd } from 'metabind-linux'

/**
 * What the kernel may hold of answers that a caller does not read is charged to the agent: 208 KiB a
 * connection on a Unix socket and 4 MiB on TCP, unless told otherwise. With this a piece of an answer is one
 * page for the kernel, and two or three pieces wait; a larger answer takes a turn of the event loop more
 * for each two.
 */
export const SEND_BUFFER_BYTES = 3840
/** Of requests that are not read, on TCP. On a Unix socket they are charged to whoever sends them. */
export const RECEIVE_BUFFER_BYTES = 8192

/** Bounds what the kernel holds for an accepted connection. */
export function boundBuffers(socket: Socket): void {
  try {
    const fd = socketFd(socket)
    setSendBuffer(fd, SEND_BUFFER_BYTES)
    if (socket.remoteAddress !== undefined) setReceiveBuffer(fd, RECEIVE_BUFFER_BYTES)
  } catch {
    // The peer has gone already.
    socket.destroy()
  }
}
