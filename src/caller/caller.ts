import { closeSync } from 'node:fs'
import type { Socket } from 'node:net'
import {
  openPidfd,
  type PeerCredentials,
  peerCredentials,
  peerGroups,
  peerGroupsUpTo,
  peerPidfd,
  processAlive,
  socketFd,
} from 'metabind-linux'
import { MetabindError } from '../errors.ts'
import { ratePerUid } from '../rate-limit.ts'
import { LazyCaller, mayReadLater } from './lazy-caller.ts'
import {
  effectiveUidOf,
  isUnmappedGroup,
  isUnmappedUser,
  type NamesExecutable,
  type ProcessAttributes,
  readPinned,
  readProcess,
  startTimeOf,
} from './process.ts'
import { gone, unknownBecause } from './unknown.ts'

/**
 * The local process on the other end of a connection.
 *
 * uid, gid and groups are what the kernel recorded when the process connected: it cannot change them
 * any more. The rest is what /proc said when the connection was accepted or, if no rule names any of
 * it, when it was first asked for: see LazyCaller. A process that replaces itself (execve) before accept
 * shows its new executable, and one that hands its connection to another hands its identity with it:
 * whoever may run an executable can speak in its name.
 *
 * Each connection has an object of its own, and what is remembered for it is remembered for nobody else.
 * It is no plain object: to copy it, see shownCaller.
 */
export interface Caller {
  readonly pid: number
  readonly uid: number
  readonly gid: number
  readonly groups: readonly number[]
  /** The system unit of systemd, undefined if it is in none. See caller/cgroup-place.ts. */
  readonly unit?: string | undefined
  readonly slice?: string | undefined
  readonly container?: string | undefined
  /** Which of its PID, user and network namespaces are not the agent's; the last only over TCP. */
  readonly namespaces: readonly ('pid' | 'user' | 'network')[]
  /** The file that it runs; only if a rule of the policy names that file. */
  readonly executable?: string | undefined
}

/** What identifying needs besides the kernel. */
export interface CallerDeps {
  /** Whether a rule names the executable at a path; undefined if no rule names any. */
  readonly namesExecutable: NamesExecutable | undefined
  /** Whether /proc may be read when it is first needed. Not if it is for rules that name what stands there. */
  readonly isReadLater: boolean
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
  isReadLater: false,
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
  const groups = groupsOf(fd, uid, deps)
  const pidfd = pinned(fd, credentials, deps)
  if (pidfd === undefined) {
    return { pid, uid, gid, groups, ...attributesByStartTime(credentials, deps) }
  }
  if (deps.isReadLater && mayReadLater()) return new LazyCaller(credentials, groups, pidfd)
  try {
    return { pid, uid, gid, groups, ...readPinned(pid, pidfd, deps.namesExecutable) }
  } finally {
    closeSync(pidfd)
  }
}

function groupsOf(fd: number, uid: number, { manyGroups }: CallerDeps): readonly number[] {
  const groups = peerGroupsUpTo(fd, GROUPS_AT_ONCE)
  if (groups !== undefined) return groups
  if (manyGroups.take(uid) === 0) return peerGroups(fd)
  throw new MetabindError('CALLER_UNKNOWN', 'its user has too many callers with many groups')
}

/**
 * A pidfd of the process that connected, which runs: as long as it does, its pid is its own.
 *
 * Before Linux 6.5 it is made from the number: the process may have gone before accept, and its pid may have
 * been given again. What is left of this race is narrowed to processes of the same user.
 *
 * @returns undefined if the kernel has none
 * @throws MetabindError CALLER_UNKNOWN if the process has ended
 */
function pinned(fd: number, { pid, uid }: PeerCredentials, deps: CallerDeps): number | undefined {
  const ofPeer = deps.peerPidfd(fd)
  const pidfd = ofPeer ?? deps.openPidfd(pid)
  if (pidfd === undefined) return undefined
  try {
    if (ofPeer === undefined && effectiveUidOf(pid) !== uid) throw gone()
    if (!processAlive(pidfd)) throw gone()
    return pidfd
  } catch (error) {
    closeSync(pidfd)
    throw error
  }
}

/** For kernels without pidfds: the start time shows that one process was read all along. */
function attributesByStartTime({ pid, uid }: PeerCredentials, deps: CallerDeps): ProcessAttributes {
  const startTime = startTimeOf(pid)
  const attributes = readProcess(pid, undefined, deps.namesExecutable)
  if (effectiveUidOf(pid) !== uid || startTimeOf(pid) !== startTime) throw gone()
  return attributes
}
