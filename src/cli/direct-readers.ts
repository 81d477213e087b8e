import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Sockets } from '../client.ts'
import { parseCgroup } from '../format/cgroup.ts'
import type { Lockdown } from '../format/nftables.ts'
import { type ConnectedSocket, socketsTo } from '../format/proc-net-tcp.ts'
import { observedBy } from './observed.ts'
import { asTable, userName } from './table.ts'

/** A process that has a connection to the metadata service. */
interface DirectReader {
  readonly user: string
  readonly uid: number
  readonly pid: number | undefined
  readonly unit: string | undefined
  readonly executable: string | undefined
}

const LOOK_MS = 5000
const TURN_MS = 50

/**
 * Looks for a while at who has a connection to the metadata service. One that is shorter than a turn
 * can be missed; observing mode misses none.
 */
export async function previewOf(plan: Lockdown, sockets: Sockets, json: boolean): Promise<string> {
  const found = new Map<string, DirectReader>()
  const end = performance.now() + LOOK_MS
  while (performance.now() < end) {
    for (const reader of readersNow(plan)) found.set(`${reader.uid} ${reader.pid}`, reader)
    await sleep(TURN_MS)
  }
  const now = [...found.values()]
  const before = await observedBy(sockets)
  if (json) return `${JSON.stringify({ address: plan.address, now, before })}\n`
  const rows = now.map((reader) => [
    reader.user,
    String(reader.pid ?? '-'),
    reader.unit ?? '-',
    reader.executable ?? '-',
  ])
  return `${asTable(['USER', 'PID', 'UNIT', 'EXECUTABLE'], rows)}
${rows.length} seen in ${LOOK_MS / 1000} s talking to ${plan.address}; ${before.length} observed before.
Each would be answered by the agent as uid and policy say (metabind explain), and needs a token.
`
}

function readersNow({ address, port }: Lockdown): DirectReader[] {
  const connected = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) =>
    socketsTo(readQuietly(file), address, port),
  )
  if (connected.length === 0) return []
  const pids = pidsOf(new Set(connected.map(({ inode }) => inode)))
  return connected.map((socket) => describe(socket, pids.get(socket.inode)))
}

function describe({ uid }: ConnectedSocket, pid: number | undefined): DirectReader {
  const cgroup = pid === undefined ? '' : readQuietly(`/proc/${pid}/cgroup`)
  const { unit } = parseCgroup(cgroup)
  return { user: userName(uid), uid, pid, unit, executable: linkQuietly(`/proc/${pid}/exe`) }
}

/** Which process has which socket open; root sees all of them. */
function pidsOf(inodes: ReadonlySet<number>): Map<number, number> {
  const found = new Map<number, number>()
  for (const name of readdirSync('/proc')) {
    if (!/^[0-9]+$/.test(name)) continue
    for (const inode of socketsOf(name)) if (inodes.has(inode)) found.set(inode, Number(name))
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
