import type { Socket } from 'node:net'
import { openCounts } from '../open-counts.ts'

/**
 * Counts open connections by the address that they come from, from the moment they are accepted: before
 * anybody is named for them, no share of a user holds.
 *
 * @returns asked once for each connection: whether it may stay
 */
export function connectionsPerAddress(connectionsMax: number): (socket: Socket) => boolean {
  const open = openCounts<string>()
  return (socket) => {
    const { remoteAddress: address } = socket
    if (address === undefined) return false
    if (open.of(address) >= connectionsMax) return false
    open.add(address, 1)
    socket.once('close', () => open.remove(address, 1))
    return true
  }
}
