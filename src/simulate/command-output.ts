/** What a command prints, within bounds of time and size. */
import { type ChildProcess, spawn } from 'node:child_process'

const RUN_MS_MAX = 30_000
const OUTPUT_BYTES_MAX = 65_536
const COMPLAINT_CHARACTERS_MAX = 200

/**
 * Runs a command by /bin/sh, without input.
 *
 * @returns all that it printed on standard output
 * @throws Error that says why there is nothing; with the first line of standard error, never of the output
 */
export function printedBy(command: string, signal: AbortSignal): Promise<string> {
  // In a group of its own, so that all of it can be ended.
  const child = spawn('/bin/sh', ['-c', command], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const giveUp = (why: string) => {
    endGroup(child)
    reject(new Error(why))
  }
  const timer = setTimeout(() => giveUp(`it did not end in ${RUN_MS_MAX / 1000} s`), RUN_MS_MAX)
  const abort = () => giveUp('the simulator ends')
  signal.addEventListener('abort', abort, { once: true })
  const chunks: Buffer[] = []
  let bytes = 0
  child.stdout.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > OUTPUT_BYTES_MAX) giveUp(`it printed more than ${OUTPUT_BYTES_MAX} bytes`)
    else chunks.push(chunk)
  })
  let complaint = ''
  child.stderr.on('data', (chunk: Buffer) => {
    if (complaint.length < COMPLAINT_CHARACTERS_MAX) complaint += chunk.toString('utf8')
  })
  child.on('error', (error) => giveUp(error.message))
  child.on('close', (code, killedBy) => {
    if (code === 0) return resolve(Buffer.concat(chunks).toString('utf8'))
    const [line = ''] = complaint.slice(0, COMPLAINT_CHARACTERS_MAX).split('\n', 1)
    reject(new Error(`it ended with ${killedBy ?? `exit code ${code}`}${line && `: ${line}`}`))
  })
  return promise.finally(() => {
    clearTimeout(timer)
    signal.removeEventListener('abort', abort)
  })
}

function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}
