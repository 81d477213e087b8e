import type { Socket } from 'node:net'

/**
 * Counts open connections by the address that they come from, from the moment they are accepted: before
 * anybody is named for them, no share of a user holds.
 *
 * @returns asked once for each connection: whether it may stay
 */
export function connectionsPerAddress(connectionsMax: number): (socket: Socket) => boolean {
  const open = new Map<string, number>()
  return (socket) => {
    const { remoteAddress: address } = socket
    if (address === undefined) return false
    const before = open.get(address) ?? 0
    if (before >= connectionsMax) return false
    open.set(address, before + 1)
    socket.once('close', () => {
      const left = (open.get(address) ?? 1) - 1
      if (left > 0) open.set(address, left)
      else open.delete(address)
    })
    return true
  }
}
