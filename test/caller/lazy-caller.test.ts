import { type ChildProcess, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { openPidfd } from 'metabind-linux'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { CallerDeps } from '../../src/caller/caller.ts'
import { callerOf, identifyCaller, isHostRoot, uidOf } from '../../src/caller/connection.ts'
import { LazyCaller, PIDFDS_KEPT_MAX } from '../../src/caller/lazy-caller.ts'
import { isPlaced, knownOf, requireRead, shownCaller } from '../../src/caller/shown.ts'
import { withoutDescriptors } from '../harness/descriptors.ts'
import {
  type Cgroups,
  endPeer,
  isRoot,
  makeCgroups,
  NEEDS_ROOT,
  nextPid,
  type PeerOptions,
  PYTHON,
  startPeer,
  systemdHierarchies,
} from '../harness/peer.ts'

/** Callers of whom /proc is read when it is first needed: real processes that change in between. */

const STAY = `import os,socket,sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
sys.stdin.read()`
const SELF = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
const hierarchies = isRoot ? systemdHierarchies() : []

let dir: string
let path: string
let server: Server
let peers: ChildProcess[]
let cgroups: Cgroups

beforeEach(async () => {
  dir = await mkdtemp('/tmp/lazy-')
  await chmod(dir, 0o755)
  path = join(dir, 's')
  server = createServer({ pauseOnConnect: true }).listen(path)
  await once(server, 'listening')
  await chmod(path, 0o666)
  peers = []
  cgroups = makeCgroups()
})

afterEach(async () => {
  await Promise.all(peers.map(endPeer))
  cgroups.remove()
  server.close()
  await rm(dir, { recursive: true })
})

/** A process that has connected and stays, and its connection. */
async function accepted(deps: Partial<CallerDeps> = {}, options: PeerOptions = {}) {
  const peer = startPeer(STAY, [path], options)
  peers.push(peer)
  const [socket]: Socket[] = await once(server, 'connection')
  if (socket === undefined) throw new Error('no connection')
  socket.on('error', () => socket.destroy())
  identifyCaller(socket, { isReadLater: true, ...deps })
  return { peer, socket, caller: callerOf(socket) }
}

/** How many this process has open. */
const pidfds = () => readdirSync('/proc/self/fd').filter(isPidfd).length

function isPidfd(fd: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).includes('pidfd')
  } catch {
    // The listing's own.
    return false
  }
}

const GONE = expect.objectContaining({ code: 'CALLER_UNKNOWN', detail: 'its process is gone' })
const UNKNOWN = expect.objectContaining({ code: 'CALLER_UNKNOWN' })

// As on kernels before 6.5.
const OLD_KERNEL = { peerPidfd: () => undefined }

describe.each([
  ['by SO_PEERPIDFD', {}],
  ['by pidfd_open', OLD_KERNEL],
])('%s', (_how, deps) => {
  test('all of it is shown, and its descriptor given back then', async () => {
    const before = pidfds()
    const { peer, socket, caller } = await accepted(deps)
    expect(pidfds()).toBe(before + 1)
    expect(shownCaller(caller)).toMatchObject({ ...SELF, pid: peer.pid, namespaces: [] })
    expect(pidfds()).toBe(before)
    socket.destroy()
    await once(socket, 'close')
    expect(pidfds()).toBe(before)
    // What was read stays.
    expect(caller.namespaces).toEqual([])
  })

  test('the descriptor of one that nobody asks for goes with its connection', async () => {
    const before = pidfds()
    const { socket, caller } = await accepted(deps)
    socket.destroy()
    await once(socket, 'close')
    expect(pidfds()).toBe(before)
    expect(() => caller.unit).toThrow(
      expect.objectContaining({ code: 'CALLER_UNKNOWN', detail: 'its connection is closed' }),
    )
  })

  test('a process that is gone at accept is refused at once, and nothing of it kept', async () => {
    const before = pidfds()
    // Nothing is accepted while spawnSync waits for the process to end.
    spawnSync(PYTHON, ['-c', STAY, path], { input: '' })
    const [socket]: Socket[] = await once(server, 'connection')
    if (socket === undefined) throw new Error('no connection')
    identifyCaller(socket, { isReadLater: true, ...deps })
    expect(() => callerOf(socket)).toThrow(UNKNOWN)
    expect(pidfds()).toBe(before)
    socket.destroy()
  })

  test('one that cannot be looked at for want of a descriptor is read when there is one', async () => {
    const { peer, socket, caller } = await accepted(deps)
    const before = pidfds()
    withoutDescriptors(() => {
      const unseen = expect.objectContaining({ code: 'LIMIT_CONNECTIONS' })
      expect(() => caller.namespaces).toThrow(unseen)
      expect(isPlaced(caller)).toBe(false)
    })
    expect(pidfds()).toBe(before)
    expect(caller.namespaces).toEqual([])
    socket.destroy()
    await endPeer(peer)
  })

  test('a record shows of it what is known, and reads nothing for that', async () => {
    const { peer, socket, caller } = await accepted(deps)
    const { pid, uid, gid, groups } = caller
    expect(isPlaced(caller)).toBe(false)
    expect(knownOf(caller)).toStrictEqual({ pid, uid, gid, groups, namespaces: [] })
    expect(isPlaced(caller)).toBe(false)
    requireRead(caller)
    expect(isPlaced(caller)).toBe(true)
    const { unit, slice, container, namespaces } = caller
    expect(knownOf(caller)).toEqual({ pid, uid, gid, groups, unit, slice, container, namespaces })
    socket.destroy()
    await endPeer(peer)
  })

  test('nor does one that could not be read count as read', async () => {
    const { peer, socket, caller } = await accepted(deps)
    await endPeer(peer)
    expect(() => requireRead(caller)).toThrow(UNKNOWN)
    expect(isPlaced(caller)).toBe(false)
    const { pid, uid, gid, groups } = caller
    expect(knownOf(caller)).toStrictEqual({ pid, uid, gid, groups, namespaces: [] })
    socket.destroy()
  })

  test('a process that has ended since is not known, now or later, and is not root', async () => {
    const { peer, socket, caller } = await accepted(deps)
    await endPeer(peer)
    expect([caller.uid, caller.gid, uidOf(socket)]).toEqual([SELF.uid, SELF.gid, SELF.uid])
    expect(isHostRoot(socket)).toBe(false)
    const asked = [
      () => caller.unit,
      () => caller.slice,
      () => caller.container,
      () => caller.namespaces,
      () => shownCaller(caller),
      () => requireRead(caller),
    ]
    for (const ask of asked) expect(ask).toThrow(UNKNOWN)
  })

  const pidsCanBeGiven = isRoot && existsSync('/proc/sys/kernel/ns_last_pid')
  test.skipIf(!pidsCanBeGiven)(
    `nor is another process that has its pid, of the same user [${NEEDS_ROOT}]`,
    async () => {
      for (let attempt = 0; attempt < 50; attempt += 1) {
        const { peer, socket, caller } = await accepted(deps)
        const { pid = 0 } = peer
        await endPeer(peer)
        while (existsSync(`/proc/${pid}`)) spawnSync('sleep', ['0.01'])
        nextPid(pid)
        const victim = startPeer('import sys; sys.stdin.read()', [])
        peers.push(victim)
        if (victim.pid === pid) expect(() => caller.unit).toThrow(GONE)
        socket.destroy()
        await endPeer(victim)
        if (victim.pid === pid) return
      }
      throw new Error('no pid could be given anew in 50 tries')
    },
  )

  test('a process that runs another program since is the same one, and what it runs is not told', async () => {
    const script = `${STAY.replace('sys.stdin.read()', '')}
s.set_inheritable(True)
sys.stdin.readline()
os.execv('/bin/sleep', ['/bin/sleep', '30'])`
    const peer = startPeer(script, [path])
    peers.push(peer)
    const [socket]: Socket[] = await once(server, 'connection')
    if (socket === undefined) throw new Error('no connection')
    identifyCaller(socket, { isReadLater: true, ...deps })
    peer.stdin?.end('\n')
    const program = () => readFileSync(`/proc/${peer.pid}/cmdline`, 'latin1')
    await expect.poll(program, { timeout: 120_000 }).toBe('/bin/sleep\x0030\0')
    const shown = shownCaller(callerOf(socket))
    expect(shown).toMatchObject({ ...SELF, pid: peer.pid, namespaces: [] })
    expect(shown.executable).toBeUndefined()
    socket.destroy()
  })

  test.skipIf(hierarchies.length === 0)(
    `its unit is the one that it is in when somebody asks, and no other later [${NEEDS_ROOT}]`,
    async () => {
      const [one = '', other = ''] = ['one', 'other'].map((name) =>
        cgroups.make(`system.slice/${name}-${process.pid}.service`),
      )
      const { peer, socket, caller } = await accepted(deps, { uid: 1001, cgroups: [one] })
      expect(caller.unit).toBe(`one-${process.pid}.service`)
      spawnSync('sh', ['-c', `echo ${peer.pid} > ${other}/cgroup.procs`])
      expect(caller.unit).toBe(`one-${process.pid}.service`)
      socket.destroy()
      await endPeer(peer)
    },
  )
})

test('where the kernel has no pidfds nothing is left for later', async () => {
  const before = pidfds()
  const { peer, caller } = await accepted({ ...OLD_KERNEL, openPidfd: () => undefined })
  expect(pidfds()).toBe(before)
  await endPeer(peer)
  expect(caller).toMatchObject({ ...SELF, pid: peer.pid, namespaces: [] })
})

test('descriptors are kept for a bounded number; whoever comes beyond it is read at once', async () => {
  const kept = Array.from({ length: PIDFDS_KEPT_MAX }, () => {
    const pidfd = openPidfd(process.pid)
    if (pidfd === undefined) throw new Error('no pidfd')
    return new LazyCaller({ pid: process.pid, ...SELF }, [], pidfd)
  })
  const before = pidfds()
  const { caller: beyond } = await accepted()
  expect(pidfds()).toBe(before)
  expect(beyond).not.toBeInstanceOf(LazyCaller)
  for (const one of kept) one.release()
  const { caller: within } = await accepted()
  expect(within).toBeInstanceOf(LazyCaller)
})
