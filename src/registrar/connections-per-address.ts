import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { openCounts } from '../open-counts.ts'
import { peerAddress, sharedNetwork } from './client-address.ts'

interface AddressBounds {
  /** Open at once of one address, of IPv6 of one /64. Asked for each connection. */
  readonly max: () => number
  /** Addresses whose connections are those of many. */
  readonly exempt: ReadonlySet<string>
  readonly onRefused: () => void
}

/**
 * Closes what is too much of one address when it connects, so that nobody alone can hold all connections. Before
 * anything else sees it: a TLS handshake that is never ended is a connection as well.
 */
export function boundConnections(server: Server, { max, exempt, onRefused }: AddressBounds): void {
  const open = openCounts<string>()
  const accept = server.listeners('connection')
  const enter = (socket: Socket) => {
    for (const listener of accept) Reflect.apply(listener, server, [socket])
  }
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) => {
    const address = peerAddress(socket)
    // Of one that has gone already no address is known, and it goes by itself.
    if (address === '' || exempt.has(address)) return enter(socket)
    const network = sharedNetwork(address)
    if (open.of(network) >= max()) {
      onRefused()
      return void socket.destroy()
    }
    open.add(network, 1)
    socket.once('close', () => open.remove(network, 1))
    enter(socket)
  })
}
