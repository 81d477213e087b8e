import type { Server } from 'node:http'
import { Server as NetServer, type Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { shutDownReading, socketFd, unsentBytes } from 'metabind-linux'
import { connectionOf } from '../caller/connection.ts'
import { destroyHandshakes } from './handshakes.ts'
import { countQuietAlone, openConnections, quietMs } from './open-connections.ts'

const LOOKS_EVERY_MS = 50
/**
 * A kept connection, or a new one without a request, is ended once nothing has been asked on it for this
 * long, also before the end began. It decides nothing about what was sent; it spares a client that is between
 * two requests a connection that ends under its hands.
 */
const QUIET_MS = 1000

/** Ends a server as endConnections does, and fastify with it. */
export async function closeGracefully(app: FastifyInstance): Promise<void> {
  await endConnections(app.server)
  await app.close()
}

/**
 * Ends a server without losing a request. Who comes from now on waits in the queue of the socket, if
 * somebody else holds that too (systemd). Every request that the kernel has taken on an open connection is
 * answered, and told that its connection closes. Whoever waits for this bounds it: a peer that reads no
 * answer is waited for. One whose TLS handshake goes on has asked nothing, and is hung up on.
 *
 * http.Server.close() would first destroy every connection that has not sent a byte yet, and each on which
 * nothing has been read, whatever the kernel holds for it.
 */
export async function endConnections(server: Server): Promise<void> {
  if (!server.listening) return
  const { promise: closed, resolve } = Promise.withResolvers<void>()
  server.prependListener('request', (_request, response) => {
    response.shouldKeepAlive = false
  })
  NetServer.prototype.close.call(server, () => resolve())
  let looks = 0
  const look = (sinceMs: number) => {
    // Between two looks all is read that the kernel had: of who spoke TLS to the end, and asked, it is a request by then.
    if (looks >= 2) destroyHandshakes(server)
    looks += 1
    for (const socket of openConnections(server)) {
      // Until its peer has read all answers it may be about to ask again, and then for a while.
      if (!isRead(socket)) connectionOf(socket).quietMs = undefined
      else if (quietMs(socket, sinceMs) >= QUIET_MS) takeNoMore(socket)
    }
  }
  countQuietAlone(server)
  look(0)
  const looking = setInterval(look, LOOKS_EVERY_MS, LOOKS_EVERY_MS)
  await closed
  clearInterval(looking)
}

/** Whether the peer has read all answers. */
function isRead(socket: Socket): boolean {
  try {
    return unsentBytes(socketFd(socket)) === 0
  } catch {
    return true
  }
}

/**
 * What has come until now is read to its end and answered, whether this process knows of it or only the
 * kernel; then node:http closes. What would come later the kernel refuses to take, on a Unix socket.
 */
function takeNoMore(socket: Socket): void {
  try {
    shutDownReading(socketFd(socket))
  } catch {
    // It is closed already, or the peer has reset it.
    socket.destroy()
  }
}
