import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseCgroup } from './cgroup-place.ts'
import { cgroupTree } from './cgroup-tree.ts'
import { socketInNetworkOf } from './proc-net-sockets.ts'
import type { End } from './proc-net-tcp.ts'
import { lacksDescriptor } from './unknown.ts'

/**
 * Who in a container with a network of its own made a connection that came from it.
 *
 * sock_diag(7) speaks of the agent's own network only, and the agent may enter no other. But
 * /proc/PID/net/tcp shows the sockets of that process's network, with their users as the agent counts
 * them, to everybody. So one process of each container is looked at.
 *
 * Whoever makes a network with the same addresses in a container of their own can be taken for the
 * caller, and then the caller is refused or answered as somebody who may make such networks. Nobody
 * becomes another in this way: that would need the socket in the other's network.
 */
export interface ContainerNetworks {
  /**
   * @param from the end that the agent sees, `to` the one that the caller connected to
   * @returns undefined if no container has such a socket. Those from one address wait for each
   *   other: the caller bounds how many they are
   * @throws for want of a descriptor to look with
   */
  ownerOf(from: End, to: End): Promise<Contained | undefined>
}

/** The user that made a socket, and its container if all processes of its network are in one. */
export interface Contained {
  readonly uid: number
  readonly container: string | undefined
}

/** A network, by one process of each container that is in it. */
interface Network {
  readonly pids: number[]
  readonly containers: Set<string>
}

// Containers come and go: older than that, nothing is taken from what was seen.
const SEEN_MS = 1000
// The walk keeps everybody waiting, so a new one begins so long after the last at the earliest.
const PAUSE_MS = 500
const FIRST_PID_BYTES = 32

/** @param clockMs monotonic */
export function containerNetworks(clockMs: () => number): ContainerNetworks {
  const seen = seenNetworks(clockMs)
  const find = async (from: End, to: End, sinceMs: number): Promise<Contained | undefined> => {
    await seen.since(clockMs() - SEEN_MS)
    const found = await seen.find(from, to)
    if (found !== undefined) return found
    // A container that has just started. All that came before one look wait for no other.
    await seen.since(sinceMs)
    return seen.find(from, to)
  }
  const turns = new Map<string, { waiting: number; last: Promise<unknown> }>()
  return {
    ownerOf: async (from, to) => {
      const turn = turns.get(from.address) ?? { waiting: 0, last: Promise.resolve() }
      turns.set(from.address, turn)
      turn.waiting += 1
      const sinceMs = clockMs()
      const found = turn.last.then(() => find(from, to, sinceMs))
      turn.last = found.catch(() => undefined)
      try {
        return await found
      } finally {
        turn.waiting -= 1
        if (turn.waiting === 0) turns.delete(from.address)
      }
    },
  }
}

/** What was seen of the containers' networks, and when. */
function seenNetworks(clockMs: () => number) {
  let networks = new Map<number, Network>()
  let seenMs = Number.NEGATIVE_INFINITY
  let looking: Promise<void> | undefined
  // Where each address was last: its network is looked at first.
  const lastOf = new Map<string, number>()
  const look = async (): Promise<void> => {
    await sleep(Math.max(0, seenMs + PAUSE_MS - clockMs()))
    networks = networksNow()
    seenMs = clockMs()
    for (const [address, id] of lastOf) if (!networks.has(id)) lastOf.delete(address)
  }
  return {
    /** Looks again unless that was done since then; at once for all who wait for it. */
    since: async (thenMs: number): Promise<void> => {
      if (seenMs >= thenMs) return
      looking ??= look().finally(() => {
        looking = undefined
      })
      await looking
    },
    find: async (from: End, to: End): Promise<Contained | undefined> => {
      const last = lastOf.get(from.address)
      const ordered = [...networks].sort(([a], [b]) => Number(b === last) - Number(a === last))
      for (const [id, network] of ordered) {
        const owner = await ownerIn(id, network, from, to)
        if (owner === undefined) continue
        lastOf.set(from.address, id)
        return owner
      }
      return undefined
    },
  }
}

/** The networks of containers, by the inode of their /proc/PID/net/tcp, which each network has its own. */
function networksNow(): Map<number, Network> {
  const found = new Map<number, Network>()
  const done = new Set<string>()
  // A container may make cgroups of its own, any number of them, which must not hide other containers.
  const descends = (path: string) => {
    const { container = '', unit } = parseCgroup(`0::${path}`)
    return !(done.has(container) || unit?.startsWith('user@'))
  }
  const host = networkOf('self')
  for (const { path, directory } of cgroupTree(descends)) {
    const container = containerAt(`0::${path}`)
    if (container !== undefined && done.has(container)) continue
    const pid = container === undefined ? undefined : firstProcess(directory)
    const id = pid === undefined ? undefined : networkOf(pid)
    if (container === undefined || pid === undefined || id === undefined) continue
    done.add(container)
    if (id === host) continue
    const network = found.get(id) ?? { pids: [], containers: new Set() }
    network.containers.add(container)
    network.pids.push(pid)
    found.set(id, network)
  }
  return found
}

/**
 * The container that a cgroup belongs to. Below a user's own service manager it is only that user's
 * word, and what such a container sends comes from a process of the host anyway.
 */
function containerAt(cgroup: string): string | undefined {
  const { container, unit } = parseCgroup(cgroup)
  return unit?.startsWith('user@') ? undefined : container
}

function networkOf(pid: number | 'self'): number | undefined {
  try {
    return statSync(`/proc/${pid}/net/tcp`).ino
  } catch {
    // It has ended.
    return undefined
  }
}

/** Of a container in another PID namespace the kernel shows 0, which is nobody. */
function firstProcess(directory: string): number | undefined {
  try {
    const descriptor = openSync(`${directory}/cgroup.procs`, 'r')
    try {
      const bytes = Buffer.alloc(FIRST_PID_BYTES)
      const text = bytes.toString('latin1', 0, readSync(descriptor, bytes, 0, bytes.length, 0))
      const pid = Number.parseInt(text, 10)
      return pid > 0 ? pid : undefined
    } finally {
      closeSync(descriptor)
    }
  } catch (error) {
    return nothingOf(error)
  }
}

/** Asked of each of its processes until one is alive, and is still what it was when it was found. */
async function ownerIn(
  id: number,
  { pids, containers }: Network,
  from: End,
  to: End,
): Promise<Contained | undefined> {
  const [container] = containers
  const isThere = (pid: number) => networkOf(pid) === id && containers.has(containerOf(pid) ?? '')
  for (const pid of pids) {
    if (!isThere(pid)) continue
    const socket = await socketInNetworkOf(pid, from, to).catch(nothingOf)
    // Its number may have been another process's meanwhile.
    if (!isThere(pid)) continue
    if (socket === undefined) return undefined
    return { uid: socket.uid, container: containers.size === 1 ? container : undefined }
  }
  return undefined
}

/** What could not be read has ended, unless there was no descriptor to read it with. */
function nothingOf(error: unknown): undefined {
  if (lacksDescriptor(error)) throw error
}

function containerOf(pid: number): string | undefined {
  try {
    return containerAt(readFileSync(`/proc/${pid}/cgroup`, 'latin1'))
  } catch (error) {
    return nothingOf(error)
  }
}
