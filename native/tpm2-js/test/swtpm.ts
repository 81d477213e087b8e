import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'

/**
 * A real software TPM for tests: one swtpm process on a Unix socket, in a directory of its own
 * under /tmp (a socket path has at most 107 bytes).
 */

const run = promisify(execFile)

/** Bound of every wait in here. swtpm answers in milliseconds; key generation of swtpm_setup in seconds. */
const WAIT_MS = 60_000

export interface SwtpmOptions {
  /** State directory to continue with; a new one, removed by stop(), when left out. */
  readonly dir?: string
  /**
   * Manufacture with swtpm_setup: EKs with certificates in NV, platform certificate. The chain is
   * `ca/issuercert.pem` under `ca/swtpm-localca-rootca-cert.pem` in the state directory.
   */
  readonly setup?: boolean
  /** Bits of the RSA EK that swtpm_setup makes; 2048 when left out. */
  readonly rsaBits?: 2048 | 3072
}

export interface Swtpm {
  readonly dir: string
  readonly socketPath: string
  /** For openTpm and for `tpm2_… -T`. */
  readonly tcti: string
  readonly pid: number
  /** TPM Reset: power off without a shutdown command, power on, Startup(CLEAR). New null seed. */
  reset(): Promise<void>
  /** TPM Restart: Shutdown(STATE), power cycle, Startup(CLEAR). The null seed survives. */
  restartState(): Promise<void>
  /** SIGKILL; the state stays. */
  kill(): Promise<void>
  /** A new process on the same state and socket, after kill(). */
  start(): Promise<void>
  /** SIGSTOP: it accepts connections and never answers. */
  pause(): void
  resume(): void
  /** Ends the process and removes a directory that startSwtpm made. */
  stop(): Promise<void>
}

export async function startSwtpm(options: SwtpmOptions = {}): Promise<Swtpm> {
  const dir = options.dir ?? (await mkdtemp('/tmp/swtpm-'))
  if (options.setup === true) await manufacture(dir, options.rsaBits ?? 2048)
  const socketPath = join(dir, 's')
  const tcti = `swtpm:path=${socketPath}`
  let child = await launch(dir, socketPath)

  const kill = async () => {
    const exited = hasExited(child) ? undefined : once(child, 'exit')
    child.kill('SIGKILL')
    await exited
  }
  const start = async () => {
    child = await launch(dir, socketPath)
  }
  return {
    dir,
    socketPath,
    tcti,
    get pid() {
      return child.pid ?? 0
    },
    kill,
    start,
    reset: async () => {
      await kill()
      await start()
    },
    restartState: async () => {
      await run('tpm2_shutdown', ['-T', tcti], { timeout: WAIT_MS })
      await kill()
      await start()
    },
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    stop: async () => {
      await kill()
      if (options.dir === undefined) await rm(dir, { recursive: true, force: true })
    },
  }
}

async function launch(dir: string, socketPath: string): Promise<ChildProcess> {
  await Promise.all([socketPath, `${socketPath}.ctrl`].map((path) => rm(path, { force: true })))
  // No TPM outlives its test process, however that ends (prctl(2), PR_SET_PDEATHSIG).
  const child = spawn(
    'setpriv',
    [
      ...['--pdeathsig', 'KILL', 'swtpm', 'socket'],
      '--tpm2',
      ...['--tpmstate', `dir=${dir}`],
      ...['--server', `type=unixio,path=${socketPath}`],
      ...['--ctrl', `type=unixio,path=${socketPath}.ctrl`],
      ...['--flags', 'not-need-init,startup-clear'],
    ],
    // It says a line for each command: a pipe that nobody reads would fill, and stop it.
    { stdio: 'ignore' },
  )
  await untilListening(child, socketPath)
  return child
}

/**
 * swtpm says nothing when it is ready. A connection to try would take the place of the one client
 * that it serves at a time, so the kernel is asked whether both sockets are listened on (proc(5),
 * /proc/net/unix: flag 0x10000).
 */
async function untilListening(child: ChildProcess, path: string): Promise<void> {
  const deadline = AbortSignal.timeout(WAIT_MS)
  while (!(await isListenedOn(path)) || !(await isListenedOn(`${path}.ctrl`))) {
    if (hasExited(child)) throw new Error(`swtpm ended with ${child.exitCode}`)
    if (deadline.aborted) throw new Error('swtpm did not start')
    await delay(5)
  }
}

async function isListenedOn(path: string): Promise<boolean> {
  const sockets = (await readFile('/proc/net/unix', 'utf8')).split('\n')
  return sockets.some((line) => line.endsWith(` ${path}`) && line.split(' ')[3] === '00010000')
}

function hasExited(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

/** With a certificate authority of its own, as the one of the machine belongs to root. */
async function manufacture(dir: string, rsaBits: number): Promise<void> {
  const ca = join(dir, 'ca')
  await mkdir(ca, { recursive: true })
  const localca = [
    `statedir = ${ca}`,
    `signingkey = ${ca}/signkey.pem`,
    `issuercert = ${ca}/issuercert.pem`,
    `certserial = ${ca}/certserial`,
  ]
  const setup = [
    'create_certs_tool = swtpm_localca',
    `create_certs_tool_config = ${ca}/localca.conf`,
    'create_certs_tool_options = /etc/swtpm-localca.options',
    'active_pcr_banks = sha256',
  ]
  await writeFile(`${ca}/localca.conf`, `${localca.join('\n')}\n`)
  await writeFile(`${ca}/setup.conf`, `${setup.join('\n')}\n`)
  const flags = ['--tpm2', '--config', `${ca}/setup.conf`, '--tpmstate', dir]
  const make = ['--create-ek-cert', '--create-platform-cert', '--lock-nvram', '--overwrite']
  const keys = ['--rsa-keysize', String(rsaBits)]
  await run('swtpm_setup', [...flags, ...make, ...keys], { timeout: WAIT_MS })
}
