import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs'

/** The descriptors that a process may still open, until this is disposed of. */
export interface FewDescriptors extends Disposable {}

/**
 * Leaves a process so many descriptors to open, by its soft limit.
 *
 * @param as what the limit is set through: without CAP_SYS_RESOURCE only the same user may
 */
export function leaveDescriptors(
  pid: number,
  spare: number,
  as: readonly string[] = [],
): FewDescriptors {
  const before = /^Max open files +([0-9]+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))?.[1]
  const open = new Set(readdirSync(`/proc/${pid}/fd`).map(Number))
  // The lowest number that is free is given next, and none that is not below the limit.
  let limit = 0
  for (let free = 0; free < spare || open.has(limit); limit += 1) {
    if (!open.has(limit)) free += 1
  }
  const set = (descriptors: string) => {
    const [file = '', ...args] = [...as, 'prlimit', `--pid=${pid}`, `--nofile=${descriptors}:`]
    execFileSync(file, args)
  }
  set(String(limit))
  return { [Symbol.dispose]: () => set(before ?? '') }
}

/** Does something while this process cannot open anything: neither may wait. */
export function withoutDescriptors<Result>(act: () => Result): Result {
  // To start the command that takes the limit back needs some.
  using _few = leaveDescriptors(process.pid, 32)
  const held: number[] = []
  try {
    holdAll(held)
    return act()
  } finally {
    for (const descriptor of held) closeSync(descriptor)
  }
}

function holdAll(held: number[]): void {
  try {
    for (;;) held.push(openSync('/dev/null', 'r'))
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EMFILE')) throw error
  }
}
