import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { cpuSeconds } from '../../bench/process.ts'

/** What the kernel says of a process; undefined if it has gone. */
export interface ProcessSample {
  readonly rssBytes: number
  readonly pssBytes: number
  readonly privateBytes: number
  readonly descriptors: number
  readonly sockets: number
  readonly threads: number
  readonly cpuSeconds: number
}

export function sampleProcess(pid: number): ProcessSample | undefined {
  try {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
    const bytes = (name: string) =>
      Number(new RegExp(String.raw`^${name}:\s+(\d+) kB`, 'm').exec(rollup)?.[1]) * 1024
    const links = readdirSync(`/proc/${pid}/fdinfo`)
    return {
      rssBytes: bytes('Rss'),
      pssBytes: bytes('Pss'),
      privateBytes: bytes('Private_Clean') + bytes('Private_Dirty'),
      descriptors: links.length,
      sockets: links.filter((fd) => isSocket(pid, fd)).length,
      threads: readdirSync(`/proc/${pid}/task`).length,
      cpuSeconds: cpuSeconds([pid]),
    }
  } catch {
    return undefined
  }
}

function isSocket(pid: number, fd: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:')
  } catch {
    return false
  }
}
