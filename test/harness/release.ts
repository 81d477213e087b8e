import { type ChildProcess, execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Networks } from './networks.ts'

/**
 * Programs of Debian releases, unmodified, by chroot in the host's network. `./dev test-clients` unpacks
 * them; nothing of them is installed on this machine.
 */

const RELEASES = fileURLToPath(new URL('../../.dev/releases', import.meta.url))
const COMMAND_MS = 90_000
/** Why a test of such a program is left out; for its name. */
export const NEEDS_RELEASE = 'needs root and what ./dev test-clients unpacks'

const run = promisify(execFile)

// In a mount namespace of its own: nothing is left mounted, whatever happens.
const ENTER = `root=$1; run=$2; shift 2
mount -t proc proc "$root/proc"
mount -t sysfs sys "$root/sys"
mount --rbind /dev "$root/dev"
mount --bind "$run" "$root/run"
mount -t tmpfs tmp "$root/tmp"
exec chroot "$root" "$@"`

/** A release that tests can use now: this is root, and it is unpacked. */
export function isUnpacked(release: string): boolean {
  return process.getuid?.() === 0 && existsSync(join(RELEASES, `${release}.recipe`))
}

/** Where a release is unpacked. */
export function releaseRoot(release: string): string {
  return join(RELEASES, release)
}

/** A file of a release. */
export function readReleaseFile(release: string, path: string): Promise<string> {
  return readFile(join(RELEASES, release, path), 'utf8')
}

/** One release in one host's network, with a `/run` that its processes share. */
export interface Host {
  /** What to put before a command to have it there, as root. */
  prefix(env?: Readonly<Record<string, string>>): string[]
  /** Runs a command there to its end. */
  run(command: readonly string[], env?: Readonly<Record<string, string>>): Promise<string>
  start(command: readonly string[], env?: Readonly<Record<string, string>>): Running
}

export interface Running {
  readonly child: ChildProcess
  /** Its standard output, at its end. */
  readonly stdout: Promise<string>
}

/** @param runDirectory its `/run`; made if it is missing */
export async function hostOf(
  release: string,
  networks: Networks,
  runDirectory: string,
): Promise<Host> {
  await mkdir(runDirectory, { recursive: true })
  const enter = ['unshare', '--mount', '--propagation', 'private', 'sh', '-ec', ENTER, 'sh']
  const prefix: Host['prefix'] = (env = {}) => [
    ...networks.hostPrefix,
    ...['env', ...Object.entries(env).map((pair) => pair.join('='))],
    ...[...enter, join(RELEASES, release), runDirectory],
  ]
  const start: Host['start'] = (command, env) => {
    const [file = '', ...args] = [...prefix(env), ...command]
    const running = run(file, args, { timeout: COMMAND_MS, maxBuffer: 1 << 24 })
    return { child: running.child, stdout: running.then(({ stdout }) => stdout) }
  }
  return { prefix, start, run: (command, env) => start(command, env).stdout }
}
