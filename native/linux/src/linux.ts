/**
 * The few system calls that metabind needs and Node lacks, and one function of Node's own OpenSSL. Everything
 * here is synchronous, takes microseconds at most, and throws LinuxError.
 */
export { bootTimeMs, monotonicUsec } from './clock.ts'
export { LinuxError } from './error.ts'
export { hmacSha256 } from './hmac.ts'
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
export { knowsTcpSockets, tcpSocketOwner } from './sockdiag.ts'
export type { SocketOwner, TcpEnds } from './sockdiag-answer.ts'
export { setReceiveBuffer, setSendBuffer, shutDownReading, unsentBytes } from './socket.ts'
