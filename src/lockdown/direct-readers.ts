import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseCgroup } from '../caller/cgroup-place.ts'
import { cgroupRoot } from '../caller/cgroup-tree.ts'
import { type ConnectedSocket, socketsTo } from '../caller/proc-net-tcp.ts'
import { placeAt, whyNoPlaces } from '../caller/socket-place.ts'
import type { Lockdown } from './rules.ts'

/** A process that has a connection to the metadata service. */
export interface DirectReader {
  readonly uid: number
  /** Undefined if it had ended before it could be looked at. */
  readonly pid: number | undefined
  readonly unit: string | undefined
  readonly container: string | undefined
  readonly executable: string | undefined
  /** `own`: that of a container, whose packets the host forwards if anything. */
  readonly network: 'host' | 'own'
  /** Whether the agent would find its cgroup, and so know whether it is in a container. */
  readonly isPlaced: boolean
}

export const LOOK_MS = 5000
const TURN_MS = 50

/**
 * Looks for a while at who has a connection to the metadata service. One that is shorter than a turn
 * can be missed; observing mode misses none.
 */
export async function watchReaders(plan: Lockdown): Promise<DirectReader[]> {
  const found = new Map<string, DirectReader>()
  const end = performance.now() + LOOK_MS
  while (performance.now() < end) {
    for (const reader of readersNow(plan)) {
      found.set(`${reader.network} ${reader.uid} ${reader.pid}`, reader)
    }
    await sleep(TURN_MS)
  }
  return [...found.values()]
}

function readersNow({ address, port }: Lockdown): DirectReader[] {
  const connected = networks().flatMap(({ pid, network }) =>
    ['tcp', 'tcp6']
      .flatMap((file) => socketsTo(readQuietly(`/proc/${pid}/net/${file}`), address, port))
      .map((socket) => ({ ...socket, network })),
  )
  if (connected.length === 0) return []
  const pids = pidsOf(new Set(connected.map(({ inode }) => inode)))
  return connected.map((socket) => describe(socket, socket.network, pids.get(socket.inode)))
}

/** One process of each network on this host. Root sees all of them. */
function networks(): { pid: string; network: 'host' | 'own' }[] {
  const host = linkQuietly('/proc/self/ns/net') ?? ''
  const found = new Map([[host, 'self']])
  for (const pid of processes()) {
    const name = linkQuietly(`/proc/${pid}/ns/net`)
    if (name !== undefined && !found.has(name)) found.set(name, pid)
  }
  return [...found].map(([name, pid]) => ({ pid, network: name === host ? 'host' : 'own' }))
}

/** What the agent would see of it: of its cgroups, the one of version 2. */
function describe(
  { uid }: ConnectedSocket,
  network: 'host' | 'own',
  owner: number | undefined,
): DirectReader {
  const cgroup = owner === undefined ? '' : readQuietly(`/proc/${owner}/cgroup`)
  const pid = cgroup === '' ? undefined : owner
  const line = cgroup.split('\n').find((one) => one.startsWith('0::/')) ?? ''
  const path = line === '' ? undefined : line.slice('0::'.length)
  const { unit, container } = parseCgroup(line)
  const isThere = path !== undefined && existsSync(`${cgroupRoot()}${path}/cgroup.procs`)
  return {
    uid,
    pid,
    unit,
    container,
    executable: pid === undefined ? undefined : linkQuietly(`/proc/${pid}/exe`),
    network,
    isPlaced: isThere && whyNoPlaces() === undefined && placeAt(path) !== undefined,
  }
}

function processes(): string[] {
  return readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name))
}

/** Which process has which socket open; root sees all of them. */
function pidsOf(inodes: ReadonlySet<number>): Map<number, number> {
  const found = new Map<number, number>()
  for (const pid of processes()) {
    for (const inode of socketsOf(pid)) if (inodes.has(inode)) found.set(inode, Number(pid))
  }
  return found
}

function socketsOf(pid: string): number[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      const [, inode] = /^socket:\[(\d+)\]$/.exec(linkQuietly(`/proc/${pid}/fd/${fd}`) ?? '') ?? []
      return inode === undefined ? [] : [Number(inode)]
    })
  } catch {
    // It has ended, or belongs to another user: then the row has no pid.
    return []
  }
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function linkQuietly(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}
