import type { Server } from 'node:http'
import type { Socket } from 'node:net'

/** Connections that have not come to speak HTTP yet: their TLS handshake goes on. Nothing was asked on them. */

const ofServer = new WeakMap<Server, Map<string, Socket>>()

/** Knows the handshakes of a server of node:https from now on. */
export function watchHandshakes(server: Server): void {
  const open = new Map<string, Socket>()
  ofServer.set(server, open)
  server.on('connection', (socket: Socket) => {
    const name = nameOf(socket)
    open.set(name, socket)
    socket.once('close', () => {
      if (open.get(name) === socket) open.delete(name)
    })
  })
  server.on('secureConnection', (socket: Socket) => open.delete(nameOf(socket)))
}

/** What comes out of a handshake is another object than what went in. Of both the peer is the same. */
function nameOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): string {
  return [remoteAddress, remotePort, localAddress, localPort].join(' ')
}

/** A peer that never ends its handshake would be waited for as long as it may take for one. */
export function destroyHandshakes(server: Server): void {
  for (const socket of ofServer.get(server)?.values() ?? []) socket.destroy()
}
