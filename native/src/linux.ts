/**
 * The few Linux calls that a service beside a TPM needs and that Node lacks. Everything here is
 * synchronous, takes microseconds at most, and throws LinuxError.
 */
export { bootTimeMs, monotonicUsec } from './linux-clock.ts'
export { LinuxError } from './linux-error.ts'
export { notify } from './linux-notify.ts'
export { originalDestination } from './linux-original-destination.ts'
export {
  type PeerCredentials,
  peerCredentials,
  peerGroupCount,
  peerGroups,
  peerPidfd,
  socketFd,
} from './linux-peer.ts'
export { openPidfd, processAlive } from './linux-pidfd.ts'
export { disableCoreDumps, exitAtOnce, isDumpable, setNotDumpable } from './linux-process.ts'
export { type SocketOwner, type TcpEnds, tcpSocketOwner } from './linux-sockdiag.ts'
export { setReceiveBuffer, setSendBuffer } from './linux-socket.ts'
