import type { Socket } from 'node:net'
import { LinuxError, lastError } from './error.ts'
import { koffi } from './foreign.ts'

/** asm-generic/socket.h */
const SOL_SOCKET = 1
const SO_PEERCRED = 17
const SO_PEERGROUPS = 59
const SO_PEERPIDFD = 77
/** NGROUPS_MAX, linux/limits.h */
const GROUPS_MAX = 65_536
const GID_BYTES = 4

const getsockopt = koffi
  .load('libc.so.6')
  .func('int getsockopt(int fd, int level, int optname, void *optval, void *optlen)')

// One of each for all calls, as they are synchronous: what a call needs of its own costs more than the call.
/** struct ucred (unix(7)): pid_t, uid_t, gid_t, 32 bits each, in host order. */
const ucred = new Uint32Array(3)
const pidfd = new Int32Array(1)
const length = new Uint32Array(1)
const fewGroups = new Uint32Array(1024)
const NO_GROUPS: readonly number[] = []

/** Who connected, as the kernel recorded it at connect(2); later changes of uid do not show. */
export interface PeerCredentials {
  readonly pid: number
  readonly uid: number
  readonly gid: number
}

/** @throws LinuxError EBADF or ENOTSOCK. A socket without peer has pid 0 and the ids 2^32-1. */
export function peerCredentials(fd: number): PeerCredentials {
  if (!get(fd, SO_PEERCRED, ucred)) throw lastError('getsockopt SO_PEERCRED')
  const [pid = 0, uid = 0, gid = 0] = ucred
  return { pid, uid, gid }
}

/**
 * The supplementary groups of the process that connected, as the kernel recorded them at connect(2).
 *
 * @throws LinuxError EBADF or ENOTSOCK; ENODATA if the socket has no peer
 */
export function peerGroups(fd: number): readonly number[] {
  const groups = peerGroupsUpTo(fd, GROUPS_MAX)
  if (groups === undefined) throw new LinuxError('getsockopt SO_PEERGROUPS', 'ERANGE')
  return groups
}

/**
 * The same if there are not more than `most`, else undefined. That there are more costs the same for any
 * number, while reading 65,536 of them takes milliseconds.
 */
export function peerGroupsUpTo(fd: number, most: number): readonly number[] | undefined {
  const gids = most <= fewGroups.length ? fewGroups : new Uint32Array(most)
  if (get(fd, SO_PEERGROUPS, gids, most * GID_BYTES)) {
    const count = (length[0] ?? 0) / GID_BYTES
    return count === 0 ? NO_GROUPS : Array.from(gids.subarray(0, count))
  }
  const error = lastError('getsockopt SO_PEERGROUPS')
  if (error.code === 'ERANGE') return undefined
  throw error
}

/**
 * A file descriptor of the process that connected, which no later process with the same pid can
 * take over. The caller closes it. Undefined if the kernel lacks SO_PEERPIDFD (before 6.5).
 *
 * @throws LinuxError ESRCH or EINVAL when the peer is gone, EBADF, ENOTSOCK, ENODATA
 */
export function peerPidfd(fd: number): number | undefined {
  if (get(fd, SO_PEERPIDFD, pidfd)) return pidfd[0]
  const error = lastError('getsockopt SO_PEERPIDFD')
  if (error.code === 'ENOPROTOOPT') return undefined
  throw error
}

/** @returns whether the kernel gave it; how long it is stands in `length` then */
function get(
  fd: number,
  option: number,
  value: Uint32Array | Int32Array,
  bytes = value.byteLength,
): boolean {
  length[0] = bytes
  return getsockopt(fd, SOL_SOCKET, option, value, length) === 0
}

/** The file descriptor of a connected socket. @throws LinuxError EBADF when it is closed. */
export function socketFd(socket: Socket): number {
  // Node has no public name for this. `_handle.fd` is what its own cluster and http modules use;
  // the type says unknown, so a Node without it ends here and not in a wrong descriptor.
  const { _handle: handle } = socket as unknown as { readonly _handle: { fd?: unknown } | null }
  if (typeof handle?.fd === 'number' && handle.fd >= 0) return handle.fd
  throw new LinuxError('socketFd', 'EBADF')
}
