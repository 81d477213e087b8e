import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

/** Faults at the N-th system call of a kind, which strace makes: it counts each thread by itself. */

/** What happens to the call. */
export type Injected = 'signal=KILL' | `error=${string}`

const inject = (calls: string, fault: Injected, when: string): string[] => [
  ...['-qq', '-f', '-o', '/dev/null', '-e', `trace=${calls}`],
  ...['-e', `inject=${calls}:${fault}:when=${when}`],
]

/**
 * What an agent is started through, as its own user: it keeps its pid, as the tracer is its grandchild. Not with
 * --seccomp-bpf: strace 6.1 then makes no signal.
 */
export function throughStrace(calls: string, fault: Injected, when: string): string[] {
  return ['strace', '-D', ...inject(calls, fault, when), '--']
}

/** Holds on to a running process, and lets go of it at the end. */
export async function attachStrace(
  pid: number,
  calls: string,
  fault: Injected,
  when: string,
): Promise<AsyncDisposable> {
  const args = inject(calls, fault, when).filter((arg) => arg !== '-qq')
  const strace = spawn('strace', [...args, '-p', String(pid)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  strace.stderr.on('data', (text) => {
    said += text
  })
  const exited = once(strace, 'exit')
  while (!said.includes('attached') && strace.exitCode === null) await sleep(10)
  return {
    [Symbol.asyncDispose]: async () => {
      strace.kill('SIGINT')
      await exited
    },
  }
}
