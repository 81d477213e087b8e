import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { DAEMON } from './programs.ts'
import { requireRootFor, requireRootHere } from './root.ts'

// What hangs is ended after this; a machine that is busy with something else is given its time.
const READY_MS = 90_000
const STOP_MS = 60_000

/** One line of the agent's log. */
export type LogRecord = Readonly<Record<string, unknown>> & { readonly msg?: string }

/** A real agent in a process of its own. */
export interface AgentProcess {
  readonly child: ChildProcess
  /** Every log record so far. */
  readonly records: readonly LogRecord[]
  /** Everything that it wrote to standard output and standard error, as text. */
  output(): string
  /** The first record, past or future, that fits. */
  until(fits: (record: LogRecord) => boolean, waitMs?: number): Promise<LogRecord>
  ready(): Promise<LogRecord>
  /** Sends a signal and waits for the end. @returns the exit code */
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

export interface AgentOptions {
  readonly logFile?: string
  readonly uid?: number
  readonly env?: NodeJS.ProcessEnv
  /** A command that the agent is started through, such as `unshare --time`. */
  readonly through?: readonly string[]
  /** Handed to the agent as its descriptors 3, 4 and so on. */
  readonly descriptors?: readonly number[]
  /** What is run with the configuration as its arguments; the sources, when left out. */
  readonly program?: readonly string[]
}

/** Starts `metabindd --config FILE...`; it need not be ready yet. */
export function startAgentProcess(
  configs: readonly string[],
  options: AgentOptions = {},
): AgentProcess {
  requireRootFor(options.uid)
  if (options.through?.[0] === 'unshare') requireRootHere('an agent in namespaces of its own')
  const program = options.program ?? [process.execPath, DAEMON]
  const [command = '', ...before] = [...(options.through ?? []), ...program]
  const args = [...before, ...configs.flatMap((file) => ['--config', file])]
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe', ...(options.descriptors ?? [])],
    env: { ...process.env, ...options.env },
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  })
  // No test leaves an agent behind by failing.
  const killChild = () => child.kill('SIGKILL')
  process.once('exit', killChild)
  child.once('exit', () => process.removeListener('exit', killChild))
  return watch(child, options.logFile)
}

function watch(child: ChildProcess, logFile: string | undefined): AgentProcess {
  const records: LogRecord[] = []
  const waiting = new Set<() => void>()
  let output = ''
  let rest = ''
  const file = logFile === undefined ? undefined : createWriteStream(logFile, { flags: 'a' })
  const wake = () => {
    for (const look of waiting) look()
  }
  child.stdout?.on('data', (chunk: Buffer) => {
    file?.write(chunk)
    output += chunk
    rest += chunk
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) records.push(parseRecord(line))
    wake()
  })
  child.stderr?.on('data', (chunk: Buffer) => {
    file?.write(chunk)
    output += chunk
  })
  child.once('exit', () => {
    file?.end()
    wake()
  })
  const until: AgentProcess['until'] = (fits, waitMs = READY_MS) =>
    new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        clearTimeout(timer)
        waiting.delete(look)
        settle()
      }
      const look = () => {
        const found = records.find(fits)
        if (found !== undefined) finish(() => resolve(found))
        else if (ended(child)) finish(() => reject(new Error(`the agent ended:\n${output}`)))
      }
      const timer = setTimeout(
        () => finish(() => reject(new Error(`no such record in ${waitMs} ms:\n${output}`))),
        waitMs,
      )
      waiting.add(look)
      look()
    })
  return {
    child,
    records,
    output: () => output,
    until,
    ready: () => until((record) => record.msg === 'ready'),
    stop: (signal = 'SIGTERM') => stop(child, signal),
  }
}

function parseRecord(line: string): LogRecord {
  try {
    return JSON.parse(line)
  } catch {
    return { msg: line, unparsed: true }
  }
}

async function stop(child: ChildProcess, signal: NodeJS.Signals): Promise<number | null> {
  if (!ended(child)) {
    const exit = once(child, 'exit')
    child.kill(signal)
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    await exit
    clearTimeout(timer)
  }
  return child.exitCode
}

function ended(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}
