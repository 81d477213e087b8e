import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { CLI } from './programs.ts'

/** `metabind simulate` as a process of its own. */

export interface SimulatorCommand extends AsyncDisposable {
  /** What it has printed on standard output, by line. */
  readonly lines: readonly string[]
  /** What it has said on standard error, by line. */
  readonly complaints: readonly string[]
  /** Sends SIGTERM and waits for the end. */
  stop(): Promise<number | null>
}

/** Starts one and waits for its line. */
export async function startSimulatorCommand(...args: readonly string[]): Promise<SimulatorCommand> {
  const child = spawn(process.execPath, [CLI, 'simulate', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = once(child, 'exit')
  const lines: string[] = []
  const complaints: string[] = []
  createInterface(child.stderr).on('line', (line) => complaints.push(line))
  const reader = createInterface(child.stdout).on('line', (line) => lines.push(line))
  await Promise.race([
    once(reader, 'line'),
    ended.then(() => Promise.reject(new Error(complaints.join('\n')))),
  ])
  const stop = async () => {
    child.kill('SIGTERM')
    await ended
    return child.exitCode
  }
  return { lines, complaints, stop, [Symbol.asyncDispose]: async () => void (await stop()) }
}
