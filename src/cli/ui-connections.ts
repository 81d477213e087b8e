import type { Socket } from 'node:net'
import { type Destination, tcpUid } from '../caller/socket-owner.ts'
import { openCounts } from '../open-counts.ts'

/** Of one user: a browser opens six at most. */
const OF_USER_MAX = 16

/**
 * Keeps one user from holding the connections that the page's browser needs: every user of the machine may connect.
 * One whose user is not known, as it is closed already or the kernel cannot say, counts among all only.
 *
 * @returns asked once for each connection: whether it may stay
 */
export function connectionsOfUsers(listening: Destination): (socket: Socket) => boolean {
  const open = openCounts<number>()
  return (socket) => {
    const uid = tcpUid(socket, listening)
    if (uid === undefined) return true
    if (open.of(uid) >= OF_USER_MAX) return false
    open.add(uid, 1)
    socket.once('close', () => open.remove(uid, 1))
    return true
  }
}
