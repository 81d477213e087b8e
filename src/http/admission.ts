import type { Server as HttpServer } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { connectionOf, isHostRoot, sharesOf, uidOf, whenClosed } from '../caller/connection.ts'
import { isUnseen } from '../caller/unknown.ts'
import { type ErrorCode, MetabindError } from '../errors.ts'
import { keepOpen } from './open-connections.ts'
import { refuseRaw, UNREAD_MS_MAX } from './refuse-raw.ts'
import { boundBuffers } from './socket-buffers.ts'
import { closeUnread } from './unread.ts'

/** Who says whether a connection may stay, and counts those that may not. */
export interface Admission {
  /**
   * @param uid undefined if the kernel names no user
   * @param shares how many connections it counts for
   * @param isRoot whether it is root of the host
   * @returns to be called once, when the connection is closed; undefined if it may not stay
   */
  admit(uid: number | undefined, shares: number, isRoot: () => boolean): (() => void) | undefined
  /** Told of every refusal that is answered on the bare connection. */
  refused(code: ErrorCode, socket: Duplex): void
  /** Told of a connection that was closed unanswered, because all together are too many. */
  dropped(): void
}

/**
 * Remembers the caller of a connection that was accepted, or that nobody can be named. If that takes
 * time, nothing is read from the connection before.
 */
export type Identify = (socket: Socket) => void | Promise<void>

/** Refused connections that are told so at once; those beyond it are closed without a word. */
export const REFUSED_OPEN_MAX = 64

/** Asks who connected before node:http sees the connection; one that may not stay it never sees. */
export function guardConnections(
  server: HttpServer,
  { requestTimeoutMs }: { readonly requestTimeoutMs: number },
  identify: Identify,
  admission?: Admission | undefined,
): void {
  // Over TLS it is the connection within that speaks HTTP, once the handshake is over.
  const isOverTls = server.listenerCount('secureConnection') > 0
  const accepted = isOverTls ? 'secureConnection' : 'connection'
  const [serve] = server.listeners(accepted)
  if (serve === undefined) throw new MetabindError('INTERNAL', 'node:http listens otherwise')
  server.removeAllListeners(accepted)
  const mayStay = admission === undefined ? () => true : gatekeeper(admission)
  closeUnread(server, requestTimeoutMs)
  const enter = (socket: Socket) => {
    if (socket.destroyed || !mayStay(socket)) return
    keepOpen(server, socket)
    Reflect.apply(serve, server, [socket])
  }
  // Who has shut down its own side may still read (RFC 9112, 9.6): node:http would hang up instead.
  Object.assign(server, { httpAllowHalfOpen: true })
  server.on(accepted, (socket: Socket) => {
    boundBuffers(socket)
    const identified = identify(socket)
    if (identified === undefined) enter(socket)
    else void enterLater(socket, identified, enter)
  })
}

async function enterLater(
  socket: Socket,
  identified: Promise<void>,
  enter: (socket: Socket) => void,
): Promise<void> {
  const gone = () => socket.destroy()
  socket.once('error', gone)
  // Whatever failed, nobody is remembered as its caller, and each of its requests is refused.
  await identified.catch(() => undefined)
  socket.off('error', gone)
  enter(socket)
}

/** @returns asked once for each connection: whether it may stay; one that may not is told so and closed */
function gatekeeper(admission: Admission): (socket: Socket) => boolean {
  let refusedOpen = 0
  const refuse = (socket: Socket): void => {
    admission.refused('LIMIT_CONNECTIONS', socket)
    if (refusedOpen >= REFUSED_OPEN_MAX) return void socket.destroy()
    refusedOpen += 1
    socket.once('close', () => {
      refusedOpen -= 1
    })
    socket.on('error', () => socket.destroy())
    refuseRaw(socket, 'LIMIT_CONNECTIONS')
    // Closing with the request unread would reset the connection, and the answer with it.
    socket.once('data', () => socket.destroySoon())
    setTimeout(() => socket.destroy(), UNREAD_MS_MAX).unref()
  }
  return (socket) => {
    const leave = isUnseen(connectionOf(socket).caller)
      ? undefined
      : admission.admit(uidOf(socket), sharesOf(socket), () => isHostRoot(socket))
    if (leave === undefined) {
      refuse(socket)
      return false
    }
    whenClosed(socket, leave)
    return true
  }
}
