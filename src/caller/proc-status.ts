/** What files of /proc say (proc(5)), as values. No process chose any of their structure. */
export interface ProcessStatus {
  /** How many PID namespaces deep the process is, seen from this /proc: 1 if it is in its own. */
  readonly pidNamespaces: number
  /** Effective capabilities, a bit each. */
  readonly capabilities: bigint
}

// By line ends alone: `^` and `$` of the flag m also stand at a carriage return, which the kernel does not
// escape in the name that a process gives itself.
const CAPABILITIES = /\nCapEff:\t([0-9a-f]{16})\n/
const PID_NAMESPACES = /(?:^|\n)NSpid:((?:\t[1-9]\d*)+)(?:\n|$)/

/**
 * Reads /proc/PID/status. The process's name stands in it, with line ends escaped by the kernel.
 *
 * @returns undefined if a line is missing: cut off, or of another kernel
 */
export function parseStatus(text: string): ProcessStatus | undefined {
  const pidNamespaces = parsePidNamespaces(text)
  const capabilities = CAPABILITIES.exec(text)?.[1]
  if (pidNamespaces === undefined || capabilities === undefined) return undefined
  return { pidNamespaces, capabilities: BigInt(`0x${capabilities}`) }
}

/**
 * How many PID namespaces deep a process is: from its /proc/PID/status, or from the
 * /proc/self/fdinfo/FD of a pidfd, which has the same line.
 *
 * @returns undefined if the line is missing, or the process has ended
 */
export function parsePidNamespaces(text: string): number | undefined {
  const pids = PID_NAMESPACES.exec(text)?.[1]
  return pids === undefined ? undefined : pids.split('\t').length - 1
}

/**
 * When a process started, from /proc/PID/stat: field 22, in clock ticks since boot, as text. With
 * the pid it names one process. The second field is the process's own name in parentheses, which may
 * hold parentheses and blanks, so fields are counted after the last `)`.
 */
export function parseStartTime(text: string): string | undefined {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const startTime = fields[22 - 3]
  return startTime !== undefined && /^\d+$/.test(startTime) ? startTime : undefined
}

/** Whether /proc/PID/uid_map maps every uid to itself: in such a namespace no uid stands for others. */
export function mapsEveryId(idMap: string): boolean {
  return /^\s*0\s+0\s+4294967295\s*$/.test(idMap)
}
