import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { inject } from 'vitest'
import type { Target } from './attack.ts'
import { asUser } from './networks.ts'

/** What a command left behind. */
export interface Ran {
  /** null if it had to be killed. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  /** Whom it runs as; root when left out. */
  readonly uid?: number
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** A command that it is started through, such as `unshare --mount`. */
  readonly through?: readonly string[]
  readonly stdin?: string
}

const RUN_MS_MAX = 60_000

/** The command line of the package, as `metabind` in PATH. */
export function packagedMetabind(): string {
  return join(inject('library'), 'metabind')
}

/** Runs it to its end against an agent, or what is in its place. */
export function runMetabind(
  sockets: Pick<Target, 'metadataSocket' | 'adminSocket'>,
  args: readonly string[],
  { env, ...options }: RunOptions = {},
): Promise<Ran> {
  const { metadataSocket, adminSocket } = sockets
  const places = { METABIND_SOCKET: metadataSocket, METABIND_ADMIN_SOCKET: adminSocket }
  return runProgram([packagedMetabind(), ...args], { ...options, env: { ...places, ...env } })
}

/** Runs any program to its end; one that hangs is killed. Of the environment it has PATH alone. */
export async function runProgram(command: readonly string[], options: RunOptions): Promise<Ran> {
  const { uid, env, cwd = '/', through = [], stdin = '' } = options
  const [file = '', ...args] = [...through, ...asUser(uid), ...command]
  const child = spawn(file, args, {
    stdio: 'pipe',
    cwd,
    env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8', ...env },
    timeout: RUN_MS_MAX,
    killSignal: 'SIGKILL',
  })
  // What does not read its input may have gone before all of it is written.
  child.stdin.on('error', () => undefined)
  child.stdin.end(stdin)
  const [stdout, stderr] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ])
  return { code: child.exitCode, stdout, stderr }
}
