import { existsSync, readFileSync } from 'node:fs'
import type { SocketOwner } from 'metabind-linux'
import { type CgroupPlace, parseCgroup } from './cgroup-place.ts'
import { type Cgroups, cgroupRoot } from './cgroup-tree.ts'
import { kernelHas } from './kernel-features.ts'
import { lacksDescriptor } from './unknown.ts'

/**
 * Where the maker of a TCP socket stands. The kernel knows its cgroup of version 2 and no other: a
 * container that shows only in version 1 would be taken for the service that started it.
 */

// So many can be asked for each connection: some 2 ms with everybody waiting. Those of a larger service
// are refused, on machines with both versions only.
const PROCESSES_MAX = 256

/** @returns undefined if that cannot be told: nobody may then be named for the socket */
export function placeOfSocket(
  { cgroupId, uid }: Pick<SocketOwner, 'cgroupId' | 'uid'>,
  cgroups: Cgroups,
): CgroupPlace | undefined {
  const path = cgroupId === undefined ? undefined : cgroups.pathOf(cgroupId, uid)
  return path === undefined ? undefined : placeAt(path)
}

/** The same for a cgroup of version 2, by its path. */
export function placeAt(path: string): CgroupPlace | undefined {
  // Under systemd (sd_booted(3)) no process is in the root. The kernel names it for all sockets once
  // somebody uses net_cls or net_prio of version 1, until Linux 5.15.
  if (path === '/') return existsSync('/run/systemd/system') ? undefined : {}
  const place = parseCgroup(`0::${path}`)
  return hasVersion1() && !isTrueOfAll(path, place) ? undefined : place
}

/**
 * Why callers over TCP cannot be told from each other on this machine, whoever they are; undefined if
 * they can.
 */
export function whyNoPlaces(kernel?: string): string | undefined {
  if (!kernelHas('socketCgroup', kernel)) {
    return 'Before Linux 5.8 the kernel does not say which cgroup a TCP socket is from.'
  }
  if (cgroupRoot() !== undefined) return undefined
  return 'Control groups of version 2 are not mounted, neither at /sys/fs/cgroup nor below it at unified.'
}

/** The same, and the kernel is asked. What that takes is loaded only then: most commands never ask. */
export async function whyNobodyNamed(): Promise<string | undefined> {
  return whyNoPlaces() ?? (await import('./socket-diag.ts')).whyNoSockets()
}

function hasVersion1(): boolean {
  return /^[1-9]/m.test(readFileSync('/proc/self/cgroup', 'latin1'))
}

/** Whether every process of a cgroup of version 2 stands there in version 1 too. */
function isTrueOfAll(path: string, { unit, container }: CgroupPlace): boolean {
  try {
    const pids = readFileSync(`${cgroupRoot()}${path}/cgroup.procs`, 'latin1').match(/\d+/g) ?? []
    if (pids.length > PROCESSES_MAX) return false
    return pids.every((pid) => {
      const place = placeNow(pid)
      return place === undefined || (place.unit === unit && place.container === container)
    })
  } catch {
    // The cgroup is gone, so it can hold nobody's word any more.
    return false
  }
}

/** Undefined if it has ended. */
function placeNow(pid: string): CgroupPlace | undefined {
  try {
    return parseCgroup(readFileSync(`/proc/${pid}/cgroup`, 'latin1'))
  } catch (error) {
    if (lacksDescriptor(error)) throw error
    return undefined
  }
}
