import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { promisify } from 'node:util'

/** What the threads of processes have run, in user and system mode, as the scheduler counts it: in nanoseconds. */
export function cpuSeconds(pids: readonly number[]): number {
  const ns = pids.flatMap((pid) =>
    readdirSync(`/proc/${pid}/task`).map((thread) =>
      Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]),
    ),
  )
  return ns.reduce((sum, one) => sum + one, 0) / 1e9
}

/** User and system time of a command, in milliseconds. @throws Error if it fails */
export async function cpuMsOf(command: readonly string[]): Promise<number> {
  const timed = ['-c', 'TIMEFORMAT="%3U %3S"; time "$@" >/dev/null', 'bash', ...command]
  const { stderr } = await promisify(execFile)('bash', timed)
  const [user, system] = stderr.trim().split(' ').map(Number)
  return ((user ?? Number.NaN) + (system ?? Number.NaN)) * 1000
}

export function residentMib(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
