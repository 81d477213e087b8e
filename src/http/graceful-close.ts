import { Server as NetServer } from 'node:net'
import type { FastifyInstance } from 'fastify'

// How long a connection accepted just now gets for its first request, and an idle one for another.
const GRACE_MS = 150

/**
 * Ends a server without losing a request. Who comes from now on waits in the queue of the socket,
 * if somebody else holds that too (systemd). Requests on open connections are answered, and told
 * that their connection closes; connections that stay silent are closed after a grace.
 *
 * http.Server.close() would first destroy every connection that has not sent a byte yet, which is
 * each one that was accepted a moment ago.
 */
export async function closeGracefully(app: FastifyInstance): Promise<void> {
  const { server } = app
  if (server.listening) {
    const { promise: closed, resolve } = Promise.withResolvers<void>()
    server.prependListener('request', (_request, response) => {
      response.shouldKeepAlive = false
    })
    NetServer.prototype.close.call(server, () => resolve())
    const rounds = setInterval(() => server.closeIdleConnections(), GRACE_MS)
    await closed
    clearInterval(rounds)
  }
  await app.close()
}
