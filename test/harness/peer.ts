import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

/** Whether these tests may make processes of other users, cgroups and namespaces. */
export const isRoot = process.getuid?.() === 0

/** Says in words what a test without root leaves out. */
export const NEEDS_ROOT = 'needs root: processes under other uids, cgroups, namespaces'

/** A process that speaks to a Unix socket, under the ids and in the places that it is given. */
export interface PeerOptions {
  readonly uid?: number
  readonly gid?: number
  readonly groups?: readonly number[]
  /** A command that it is started through, such as `unshare --fork --pid`. */
  readonly through?: readonly string[]
  /** Directories of cgroups that it enters first. */
  readonly cgroups?: readonly string[]
  /** What runs the script, if it matters which file that is. */
  readonly python?: string
}

/** A Python that a peer runs. */
export const PYTHON = systemPython()

// Enters cgroups, drops to its ids, then runs what follows: `sh` does what no child of Node can.
const ENTER = `set -e
for cgroup in $CGROUPS; do echo 0 > "$cgroup/cgroup.procs"; done
exec "$@"`

/**
 * Starts a Python script as another process would be: ids first, then namespaces, then the script.
 *
 * @param script its `sys.argv[1:]` are `args`
 */
export function startPeer(
  script: string,
  args: readonly string[],
  options: PeerOptions = {},
): ChildProcess {
  const { through = [], cgroups = [], python = PYTHON } = options
  const command = [...idsOf(options), ...through, python, '-c', script, ...args]
  const child = spawn('/bin/sh', ['-c', ENTER, 'sh', ...command], {
    cwd: '/',
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', CGROUPS: cgroups.join(' ') },
  })
  const killChild = () => child.kill('SIGKILL')
  process.once('exit', killChild)
  child.once('exit', () => process.removeListener('exit', killChild))
  return child
}

export async function endPeer(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

function idsOf({ uid, gid = uid, groups }: PeerOptions): string[] {
  if (uid === undefined) return []
  const more = groups === undefined ? ['--clear-groups'] : ['--groups', groups.join(',')]
  return ['setpriv', '--reuid', String(uid), '--regid', String(gid), ...more]
}

/** An interpreter that every user may run, and no shim: that would be another process. */
function systemPython(): string {
  if (existsSync('/usr/bin/python3')) return '/usr/bin/python3'
  const found = execFileSync('python3', ['-c', 'import sys; print(sys.executable)'])
  return found.toString().trim()
}

/** Whether a command can be run here, for what some kernels and distributions forbid. */
export function works(command: string, ...args: string[]): boolean {
  try {
    execFileSync(command, args, { stdio: 'ignore', timeout: 60_000 })
    return true
  } catch {
    return false
  }
}

/** Makes cgroups as systemd would, and removes them again. */
export interface Cgroups {
  /** @returns the directory of a cgroup, in the first hierarchy of systemd unless another is named */
  make(path: string, hierarchy?: string): string
  remove(): void
}

/** Where systemd's hierarchies are mounted, its own named one first; none if it is read-only. */
export function systemdHierarchies(): string[] {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n')
  const found = mounts.flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ')
    const at = before.split(' ')[4] ?? ''
    const [type, , options = ''] = after.split(' ')
    const named = type === 'cgroup' && options.split(',').includes('name=systemd')
    return named ? [{ at, order: 0 }] : type === 'cgroup2' ? [{ at, order: 1 }] : []
  })
  return found
    .sort((one, other) => one.order - other.order)
    .map(({ at }) => at)
    .filter(isWritable)
}

function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK)
    const probe = join(directory, `metabind-probe-${process.pid}`)
    mkdirSync(probe)
    rmdirSync(probe)
    return true
  } catch {
    return false
  }
}

export function makeCgroups(): Cgroups {
  const made: string[] = []
  const [first = ''] = systemdHierarchies()
  return {
    make: (path, hierarchy = first) => {
      let directory = hierarchy
      for (const segment of path.split('/').filter((one) => one !== '')) {
        directory = join(directory, segment)
        try {
          mkdirSync(directory)
          made.push(directory)
        } catch (error) {
          // system.slice is there already on a machine that runs systemd.
          if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
        }
      }
      return directory
    },
    remove: () => {
      for (const directory of made.splice(0).reverse()) {
        try {
          rmdirSync(directory)
        } catch (error) {
          // Tests of another file have something in the same system.slice.
          if (!(error instanceof Error && 'code' in error && error.code === 'EBUSY')) throw error
        }
      }
    },
  }
}

/** Gives a pid away: the next process that is made gets `pid`, if nobody else is quicker. */
export function nextPid(pid: number): void {
  writeFileSync('/proc/sys/kernel/ns_last_pid', String(pid - 1))
}
