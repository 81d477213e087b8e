import { closeSync } from 'node:fs'
import type { Socket } from 'node:net'
import {
  openPidfd,
  type PeerCredentials,
  peerCredentials,
  peerGroupCount,
  peerGroups,
  peerPidfd,
  processAlive,
  socketFd,
} from 'metabind-linux'
import { causeChain, MetabindError } from '../errors.ts'
import { ratePerUid } from '../rate-limit.ts'
import {
  effectiveUidOf,
  isUnmappedGroup,
  isUnmappedUser,
  type NamesExecutable,
  type ProcessAttributes,
  readProcess,
  startTimeOf,
} from './process.ts'

/**
 * The local process on the other end of a connection.
 *
 * uid, gid and groups are what the kernel recorded when the process connected: it cannot change them
 * any more. The rest is what /proc said when the connection was accepted. A process that replaces
 * itself (execve) between the two shows its new executable, and one that hands its connection to
 * another hands its identity with it: whoever may run an executable can speak in its name.
 *
 * Each connection has an object of its own, and what is remembered for it is remembered for nobody else.
 */
export interface Caller {
  readonly pid: number
  readonly uid: number
  readonly gid: number
  readonly groups: readonly number[]
  /** The system unit of systemd, undefined if it is in none. See caller/cgroup-place.ts. */
  readonly unit?: string
  readonly slice?: string
  readonly container?: string
  /** Which of its PID, user and network namespaces are not the agent's; the last only over TCP. */
  readonly namespaces: readonly ('pid' | 'user' | 'network')[]
  /** The file that it runs; only if a rule of the policy names that file. */
  readonly executable?: string
}

/** What identifying needs besides the kernel. */
export interface CallerDeps {
  /** Whether a rule names the executable at a path; undefined if no rule names any. */
  readonly namesExecutable: NamesExecutable | undefined
  /** A pidfd of a socket's peer, or undefined if the kernel has none (before 6.5). */
  readonly peerPidfd: (fd: number) => number | undefined
  /** A pidfd of the process that has a pid, or undefined if the kernel has none (before 5.3). */
  readonly openPidfd: (pid: number) => number | undefined
  /** Whether a list of more than GROUPS_AT_ONCE groups may be read for a user: 0 if so. */
  readonly manyGroups: { take(uid: number): number }
}

/** Read of every caller. The kernel needs 3 ms for the most that there can be, with everybody waiting. */
export const GROUPS_AT_ONCE = 1024
/** How many lists beyond that are read for one user. */
export const MANY_GROUPS = { perSecond: 5, burst: 20 }

const KERNEL: CallerDeps = {
  namesExecutable: undefined,
  peerPidfd,
  openPidfd,
  manyGroups: ratePerUid(MANY_GROUPS, () => performance.now()),
}

/** Who is on the other end of a Unix socket. */
interface Peer {
  /** Undefined if the kernel names no user, or its number means nobody here. */
  readonly uid: number | undefined
  readonly caller: Caller | MetabindError
}

/** Asks the kernel who is on the other end of a Unix socket. What fails is the answer: nothing is thrown. */
export function peerOf(socket: Socket, deps: Partial<CallerDeps>): Peer {
  let uid: number | undefined
  try {
    const fd = socketFd(socket)
    const credentials = peerCredentials(fd)
    if (!isUnmappedUser(credentials.uid)) uid = credentials.uid
    return { uid, caller: callerAt(fd, credentials, { ...KERNEL, ...deps }) }
  } catch (error) {
    return { uid, caller: unknownBecause('its process cannot be looked at', error) }
  }
}

function callerAt(fd: number, credentials: PeerCredentials, deps: CallerDeps): Caller {
  const { pid, uid, gid } = credentials
  if (pid === 0) throw new MetabindError('CALLER_UNKNOWN', 'it is in a PID namespace not seen here')
  if (isUnmappedUser(uid) || isUnmappedGroup(gid)) {
    throw new MetabindError('CALLER_UNKNOWN', 'its user has no number in this user namespace')
  }
  if (peerGroupCount(fd) > GROUPS_AT_ONCE && deps.manyGroups.take(uid) > 0) {
    throw new MetabindError('CALLER_UNKNOWN', 'its user has too many callers with many groups')
  }
  const attributes = attributesOf(fd, credentials, deps)
  return { pid, uid, gid, groups: peerGroups(fd), ...attributes }
}

/**
 * Reads the attributes, then looks again whether they can be another process's: a pid is given again
 * when its process is gone. The pidfd was made from the socket, not from the number, so as long as
 * its process runs, the number was that process's at every read before.
 */
function attributesOf(
  fd: number,
  credentials: PeerCredentials,
  deps: CallerDeps,
): ProcessAttributes {
  const pidfd = deps.peerPidfd(fd)
  if (pidfd === undefined) return attributesByStartTime(credentials, deps)
  try {
    const attributes = readProcess(credentials.pid, pidfd, deps.namesExecutable)
    if (!processAlive(pidfd)) throw gone()
    return attributes
  } finally {
    // Not kept: one connection costs one descriptor.
    closeSync(pidfd)
  }
}

/**
 * For kernels without SO_PEERPIDFD. The start time shows that one process was read all along, but
 * not that it is the one that connected: that one may have gone before accept, and its pid may have
 * been given again. What is left of this race is narrowed to processes of the same user.
 */
function attributesByStartTime({ pid, uid }: PeerCredentials, deps: CallerDeps): ProcessAttributes {
  const startTime = startTimeOf(pid)
  const pidfd = deps.openPidfd(pid)
  try {
    const attributes = readProcess(pid, pidfd, deps.namesExecutable)
    if (effectiveUidOf(pid) !== uid || startTimeOf(pid) !== startTime) throw gone()
    return attributes
  } finally {
    if (pidfd !== undefined) closeSync(pidfd)
  }
}

function gone(): MetabindError {
  return new MetabindError('CALLER_UNKNOWN', 'its process is gone')
}

/**
 * Whatever failed, the caller is not known. The record of each refusal has the detail: what was not possible,
 * and of an error of the system also which call on which file it refused.
 */
export function unknownBecause(what: string, error: unknown): MetabindError {
  return error instanceof MetabindError && error.code === 'CALLER_UNKNOWN'
    ? error
    : new MetabindError('CALLER_UNKNOWN', `${what}: ${causeChain(error)}`)
}
