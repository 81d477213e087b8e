import { closeSync, openSync, readlinkSync, readSync, statSync } from 'node:fs'
import { processAlive } from 'metabind-linux'
import { MetabindError } from '../errors.ts'
import { parseCgroup } from './cgroup-place.ts'
import {
  mapsEveryId,
  type ProcessStatus,
  parsePidNamespaces,
  parseStartTime,
  parseStatus,
} from './proc-status.ts'
import { gone } from './unknown.ts'

/** What /proc says of a process, beyond what the kernel says of its socket. */
export interface ProcessAttributes {
  readonly unit?: string
  readonly slice?: string
  readonly container?: string
  /** Which of its namespaces are not the agent's. */
  readonly namespaces: readonly ('pid' | 'user')[]
  readonly executable?: string
}

/** Whether it matters that a process runs the file at a path. */
export type NamesExecutable = (path: string) => boolean

// All of these files are made by the kernel while they are read, without waiting for the process or
// for a disk: 5 to 13 µs each, while a read on a worker thread takes 50 or more and may stand behind
// a TPM that does not answer. (cmdline, environ and maps would be another matter: a process can make
// their reader wait.)
const buffer = Buffer.alloc(65_536)
const CAP_SYS_PTRACE = 1n << 19n

/** What the agent knows of itself, to tell other processes' namespaces and container from its own. */
interface Own {
  readonly status: ProcessStatus
  readonly uidMap: string
  readonly mapsEveryUser: boolean
  readonly mapsEveryGroup: boolean
  readonly overflowUid: number
  readonly overflowGid: number
  readonly container: string | undefined
}

let known: Own | undefined

/** None of it changes while the agent runs, so it is read once. */
function own(): Own {
  known ??= readOwn()
  return known
}

function readOwn(): Own {
  const status = parseStatus(readProc('self/status'))
  if (status === undefined) throw new MetabindError('PROC_HIDDEN', '/proc/self/status')
  return {
    status,
    uidMap: readProc('self/uid_map'),
    mapsEveryUser: mapsEveryId(readProc('self/uid_map')),
    mapsEveryGroup: mapsEveryId(readProc('self/gid_map')),
    overflowUid: Number(readProc('sys/kernel/overflowuid')),
    overflowGid: Number(readProc('sys/kernel/overflowgid')),
    container: parseCgroup(readProc('self/cgroup')).container,
  }
}

/**
 * Makes sure that /proc shows this PID namespace and other users' processes in it. In a /proc of
 * another namespace a pid would name another process; with hidepid (ProtectProc=invisible) no
 * caller but the agent's own user could be told from another.
 *
 * @throws MetabindError PROC_HIDDEN
 */
export function requireProc(): void {
  try {
    own()
    readProc('1/cgroup')
  } catch (error) {
    throw new MetabindError('PROC_HIDDEN', 'A file cannot be read.', error)
  }
  if (own().status.pidNamespaces !== 1) {
    throw new MetabindError('PROC_HIDDEN', '/proc is of another PID namespace.')
  }
}

/** Whether executables of other users' processes can be read (proc(5): needs CAP_SYS_PTRACE). */
export function seesExecutables(): boolean {
  return (own().status.capabilities & CAP_SYS_PTRACE) !== 0n
}

/**
 * Whether a uid of SO_PEERCRED may stand for any that this user namespace does not map. The kernel
 * then says 65534; if the agent's namespace maps every uid, that is simply nobody.
 */
export function isUnmappedUser(uid: number): boolean {
  return !own().mapsEveryUser && uid === own().overflowUid
}

/** The same of a gid. */
export function isUnmappedGroup(gid: number): boolean {
  return !own().mapsEveryGroup && gid === own().overflowGid
}

/**
 * Reads what /proc says of a process that is pinned, then looks whether it still runs: as long as it does, the
 * number was its own at every read before.
 *
 * @throws MetabindError CALLER_UNKNOWN if it has ended, or whatever a file that cannot be read throws
 */
export function readPinned(
  pid: number,
  pidfd: number,
  namesExecutable: NamesExecutable | undefined,
): ProcessAttributes {
  const attributes = readProcess(pid, pidfd, namesExecutable)
  if (!processAlive(pidfd)) throw gone()
  return attributes
}

/**
 * Reads what /proc says of a pid now. It is about the process that was meant only if that is known
 * to have held the pid throughout: whoever calls this checks that afterwards.
 *
 * @param pidfd of the same process, if the kernel has such
 * @throws if a file cannot be read: usually the process is gone
 */
export function readProcess(
  pid: number,
  pidfd: number | undefined,
  namesExecutable: NamesExecutable | undefined,
): ProcessAttributes {
  const namespaces = namespacesOf(pid, pidfd)
  const { container, ...place } = parseCgroup(readProc(`${pid}/cgroup`))
  const executable = executableOf(pid, namesExecutable)
  return {
    ...place,
    // If the agent itself runs in a container, that one is its host.
    ...(container === undefined || container === own().container ? {} : { container }),
    namespaces,
    ...(executable === undefined ? {} : { executable }),
  }
}

function namespacesOf(pid: number, pidfd: number | undefined): ('pid' | 'user')[] {
  const depth = parsePidNamespaces(pidNamespacesText(pid, pidfd))
  if (depth === undefined) throw gone()
  const otherUsers = readProc(`${pid}/uid_map`) !== own().uidMap
  return [...(depth > 1 ? (['pid'] as const) : []), ...(otherUsers ? (['user'] as const) : [])]
}

/**
 * /proc/PID/status names every group of the process, up to 65,536, and takes the kernel milliseconds then:
 * it is read only if there is no pidfd, or if the kernel shows what is known of a pidfd to root alone, as
 * it does to a process that cannot be dumped before Linux 5.14.
 */
function pidNamespacesText(pid: number, pidfd: number | undefined): string {
  if (pidfd === undefined) return readProc(`${pid}/status`)
  try {
    return readProc(`self/fdinfo/${pidfd}`)
  } catch {
    return readProc(`${pid}/status`)
  }
}

/** The effective uid of the process that has a pid now: it owns the folder (proc(5)). */
export function effectiveUidOf(pid: number): number {
  return statSync(`/proc/${pid}`).uid
}

/** When the process that has a pid now was started; with the pid it names one process. */
export function startTimeOf(pid: number): string {
  const startTime = parseStartTime(readProc(`${pid}/stat`))
  if (startTime === undefined) throw new MetabindError('CALLER_UNKNOWN', 'it has no start time')
  return startTime
}

/**
 * The file that a process runs, if a rule names it, else undefined.
 *
 * A path alone proves nothing: in a mount namespace of its own a process shows any path it likes.
 * So the file that runs must be the file that the agent finds at that path. Only a path that the
 * administrator wrote into a rule is looked at: any other might lie on a file system of the
 * caller's, which could keep the agent waiting.
 */
function executableOf(
  pid: number,
  namesExecutable: NamesExecutable | undefined,
): string | undefined {
  if (namesExecutable === undefined) return undefined
  try {
    const path = readlinkSync(`/proc/${pid}/exe`)
    if (!namesExecutable(path)) return undefined
    const runs = statSync(`/proc/${pid}/exe`, { bigint: true })
    const lies = statSync(path, { bigint: true })
    return runs.dev === lies.dev && runs.ino === lies.ino ? path : undefined
  } catch {
    // No permission, or no such file here: then no rule that names executables speaks of it. Such
    // rules can only allow, so an executable that is not known gains nothing.
    return undefined
  }
}

/** @throws if the file cannot be read, or does not fit: half a file might say something else */
function readProc(name: string): string {
  const descriptor = openSync(`/proc/${name}`, 'r')
  try {
    const length = readSync(descriptor, buffer, 0, buffer.length, 0)
    if (length === buffer.length) throw new MetabindError('CALLER_UNKNOWN', `${name} is too long`)
    return buffer.toString('latin1', 0, length)
  } finally {
    closeSync(descriptor)
  }
}
