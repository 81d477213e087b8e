/**
 * The few system calls that metabind needs and Node lacks. Everything here is
 * synchronous, takes microseconds at most, and throws LinuxError.
 */
export { bootTimeMs, monotonicUsec } from './clock.ts'
export { LinuxError } from './error.ts'
export { lockFile } from './lock.ts'
export { notify } from './notify.ts'
export { originalDestination } from './original-destination.ts'
export {
  type PeerCredentials,
  peerCredentials,
  peerGroups,
  peerGroupsUpTo,
  peerPidfd,
  socketFd,
} from './peer.ts'
export { openPidfd, processAlive } from './pidfd.ts'
export { disableCoreDumps, exitAtOnce, isDumpable, setNotDumpable } from './process.ts'
export { knowsTcpSockets, type SocketOwner, type TcpEnds, tcpSocketOwner } from './sockdiag.ts'
export { setReceiveBuffer, setSendBuffer, shutDownReading, unsentBytes } from './socket.ts'
