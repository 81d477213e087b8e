import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * What a process asks of the kernel while something is done: the lines of strace, with the number of the
 * thread taken off, of the calls that are named.
 *
 * @returns undefined if strace is not here, or may not look at the process
 */
export async function traced(
  pid: number,
  calls: string,
  file: string,
  work: () => Promise<unknown>,
): Promise<string[] | undefined> {
  const args = ['-f', '-o', file, '-e', `trace=${calls}`, '-p', String(pid)]
  const strace = spawn('strace', args, { stdio: ['ignore', 'ignore', 'pipe'] })
  const said: string[] = []
  strace.stderr.on('data', (text) => said.push(String(text)))
  const ended = Promise.withResolvers<unknown>()
  strace.once('error', ended.resolve).once('close', ended.resolve)
  const isAttached = () => said.join('').includes('attached')
  while (!isAttached() && strace.exitCode === null && strace.pid !== undefined) await sleep(10)
  if (!isAttached()) return undefined
  try {
    await work()
  } finally {
    strace.kill('SIGINT')
    await ended.promise
  }
  const lines = (await readFile(file, 'utf8')).split('\n')
  return lines.map((line) => line.replace(/^\d+\s+/, ''))
}
