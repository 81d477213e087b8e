import type { Socket } from 'node:net'
import { type SocketOwner, tcpSocketOwner } from 'metabind-linux'
import { MetabindError } from '../errors.ts'

/** An IPv4 address and port. */
export interface Destination {
  readonly address: string
  readonly port: number
}

/** The user who made the other end of a connection; undefined if the kernel names none, or cannot be asked. */
export function tcpUid(socket: Socket, connectedTo: Destination): number | undefined {
  try {
    return socketOwner(socket, connectedTo).uid
  } catch {
    return undefined
  }
}

/**
 * The other end as its owner sees it: the same ports, and the address that it connected to.
 *
 * @throws MetabindError CALLER_UNKNOWN if the kernel knows none
 * @throws LinuxError if the kernel cannot be asked
 */
export function socketOwner(socket: Socket, connectedTo: Destination): SocketOwner {
  const { remoteAddress = '', remotePort = 0 } = socket
  const owner = tcpSocketOwner({
    localAddress: remoteAddress,
    localPort: remotePort,
    remoteAddress: connectedTo.address,
    remotePort: connectedTo.port,
  })
  if (owner === undefined) {
    throw new MetabindError('CALLER_UNKNOWN', 'the kernel knows no open socket at its end')
  }
  return owner
}
