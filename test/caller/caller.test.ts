import { type ChildProcess, execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { chmod, copyFile, mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { peerCredentials, socketFd } from 'metabind-linux'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type CallerDeps, MANY_GROUPS } from '../../src/caller/caller.ts'
import {
  callerOf,
  identifyCaller,
  isHostRoot,
  sharesOf,
  uidOf,
} from '../../src/caller/connection.ts'
import { ratePerUid } from '../../src/rate-limit.ts'
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
  works,
} from '../harness/peer.ts'
import { seenBy } from '../harness/seen-by.ts'

/** Real processes on a real socket, under other uids, in real cgroups and namespaces. */

const NOBODY = 65_534
const CONNECT = `import os,socket,sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
`
const STAY = `${CONNECT}s.recv(1)`
// Skipped without root, which it takes to start processes under other uids and to make cgroups. Counted as
// skipped; test/harness/root.ts says a reason only for a single test, not for a whole group as here.
const asRoot = isRoot ? test : test.skip
const describeAsRoot = isRoot ? describe : describe.skip
const hierarchies = isRoot ? systemdHierarchies() : []
/** Who connects here when nothing else is said. */
const SELF = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0, namespaces: [] }

let dir: string
let path: string
let server: Server
let peers: ChildProcess[]
let cgroups: Cgroups

beforeEach(async () => {
  dir = await mkdtemp('/tmp/caller-')
  await chmod(dir, 0o755)
  path = join(dir, 's')
  // Paused: a connection whose peer is gone stays open until it is looked at.
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

function start(script: string, options: PeerOptions = {}, args: readonly string[] = []) {
  const peer = startPeer(script, [path, ...args], options)
  peers.push(peer)
  return peer
}

async function accept(parts?: Partial<CallerDeps>): Promise<Socket> {
  const [socket]: Socket[] = await once(server, 'connection')
  if (socket === undefined) throw new Error('no connection')
  socket.on('error', () => socket.destroy())
  identifyCaller(socket, parts)
  return socket
}

/** The caller of a process that connects and stays. */
async function callerFrom(options: PeerOptions = {}, parts?: Partial<CallerDeps>) {
  const peer = start(STAY, options)
  const socket = await accept(parts)
  const caller = callerOf(socket)
  socket.destroy()
  await once(peer, 'exit')
  return { caller, pid: peer.pid }
}

const GONE = expect.objectContaining({
  code: 'CALLER_UNKNOWN',
  detail: expect.stringMatching(
    /^its process (is gone|cannot be looked at: (ENOENT|ESRCH): .*'?\/proc\/\d+|cannot be looked at: (ESRCH: .* read|pidfd_open: ESRCH)$)/,
  ),
})

/** Not for want of a process to look at: one is there. */
const TAKEN_OVER = expect.objectContaining({
  code: 'CALLER_UNKNOWN',
  detail: 'its process is gone',
})

// As on kernels before 6.5, and before 5.3.
const OLD_KERNEL = { peerPidfd: () => undefined }
const OLDEST_KERNEL = { ...OLD_KERNEL, openPidfd: () => undefined }
const KERNELS: [string, Partial<CallerDeps>][] = [
  ['by pidfd', {}],
  ['by start time', OLD_KERNEL],
  ['by start time, without any pidfd', OLDEST_KERNEL],
]

describe.each(KERNELS)('%s', (_how, parts) => {
  test('a process of our own user', async () => {
    const { caller, pid } = await callerFrom({}, parts)
    expect(caller).toMatchObject({ ...SELF, pid })
    expect(caller).not.toHaveProperty('container')
  })

  asRoot(`another user with its groups [${NEEDS_ROOT}]`, async () => {
    const options = { uid: 1001, gid: 2001, groups: [4, 3001] }
    const { caller, pid } = await callerFrom(options, parts)
    expect(caller).toMatchObject({ pid, uid: 1001, gid: 2001, groups: [4, 3001], namespaces: [] })
    expect(caller).not.toHaveProperty('executable')
  })

  asRoot(`a process, if /proc/self/fdinfo cannot be read [${NEEDS_ROOT}]`, async () => {
    // Before Linux 5.14 it belongs to root if the process cannot be dumped, as the agent cannot.
    const folder = `/proc/${process.pid}/fdinfo`
    execFileSync('mount', ['-t', 'tmpfs', 'none', folder])
    try {
      const { caller, pid } = await callerFrom({ uid: 1001 }, parts)
      expect(caller).toMatchObject({ pid, uid: 1001, namespaces: [] })
    } finally {
      execFileSync('umount', [folder])
    }
  })

  asRoot(`65534 is nobody where every uid is mapped [${NEEDS_ROOT}]`, async () => {
    const { caller } = await callerFrom({ uid: NOBODY }, parts)
    expect(caller).toMatchObject({ uid: NOBODY, groups: [] })
  })

  test('a process that is gone at accept is not known', async () => {
    // Nothing is accepted while spawnSync waits for the process to end.
    spawnSync(PYTHON, ['-c', CONNECT, path])
    const socket = await accept(parts)
    expect(() => callerOf(socket)).toThrow(GONE)
    // Whatever it asks is counted for its user all the same.
    expect(uidOf(socket)).toBe(SELF.uid)
  })

  const pidsCanBeGiven = isRoot && existsSync('/proc/sys/kernel/ns_last_pid')
  test.skipIf(!pidsCanBeGiven)(
    `a pid that is given anew while /proc is read, to the same user [${NEEDS_ROOT}]`,
    async () => {
      const script = `import os,subprocess,sys
child = subprocess.Popen([sys.executable, '-c', sys.argv[2], sys.argv[1]])
child.wait()`
      for (let attempt = 0; attempt < 50; attempt += 1) {
        const parent = start(script, {}, [STAY])
        const [socket]: Socket[] = await once(server, 'connection')
        if (socket === undefined) throw new Error('no connection')
        let victim: ChildProcess | undefined
        // Asked in the middle of the read: there the process ends, and another gets its pid.
        const recycle = () => {
          const { pid } = peerCredentials(socketFd(socket))
          process.kill(pid, 'SIGKILL')
          while (existsSync(`/proc/${pid}`)) spawnSync('sleep', ['0.01'])
          nextPid(pid)
          victim = startPeer('import sys; sys.stdin.read()', [])
          peers.push(victim)
          return false
        }
        const { pid } = peerCredentials(socketFd(socket))
        identifyCaller(socket, { ...parts, namesExecutable: recycle })
        const isRecycled = victim?.pid === pid
        if (isRecycled) expect(() => callerOf(socket)).toThrow(TAKEN_OVER)
        socket.destroy()
        await endPeer(parent)
        if (victim !== undefined) await endPeer(victim)
        if (isRecycled) return
      }
      throw new Error('no pid could be given anew in 50 tries')
    },
  )
})

describeAsRoot(`a process in 65,536 groups [${NEEDS_ROOT}]`, () => {
  const GROUPS_MAX = 65_536
  const IN_MANY = `import os,socket,sys
os.setgroups(range(100000, 100000 + int(sys.argv[2]))); os.setgid(1001); os.setuid(1001)
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.recv(1)`

  async function inMany(count: number, parts: Partial<CallerDeps>): Promise<Socket> {
    start(IN_MANY, {}, [String(count)])
    return accept(parts)
  }

  test.each(KERNELS.slice(0, 2))(
    'is identified %s, and counts for several',
    async (_how, parts) => {
      const socket = await inMany(GROUPS_MAX, parts)
      const { uid, groups } = callerOf(socket)
      expect([uid, groups.length, groups[0], groups.at(-1)]).toEqual([
        1001,
        GROUPS_MAX,
        1e5,
        165_535,
      ])
      expect(sharesOf(socket)).toBe(257)
    },
  )

  test('is known by its user alone where its status has to be read', async () => {
    const socket = await inMany(GROUPS_MAX, OLDEST_KERNEL)
    expect(() => callerOf(socket)).toThrow(
      expect.objectContaining({
        code: 'CALLER_UNKNOWN',
        detail: expect.stringMatching(/too long/),
      }),
    )
    expect([uidOf(socket), sharesOf(socket)]).toEqual([1001, 1])
  })

  test('is known by its user alone where that user had too many read', async () => {
    const asked: number[] = []
    const manyGroups = { take: (uid: number) => asked.push(uid) }
    const many = await inMany(1025, { manyGroups })
    expect(() => callerOf(many)).toThrow(
      expect.objectContaining({
        code: 'CALLER_UNKNOWN',
        detail: 'its user has too many callers with many groups',
      }),
    )
    expect([uidOf(many), sharesOf(many)]).toEqual([1001, 1])
    // So many cost next to nothing: they are read of everybody.
    const few = await inMany(1024, { manyGroups })
    expect(callerOf(few).groups).toHaveLength(1024)
    expect(sharesOf(few)).toBe(5)
    expect(asked).toEqual([1001])
  })

  test('is identified 20 times at once, and other users as often', async () => {
    const manyGroups = ratePerUid(MANY_GROUPS, () => 0)
    const socket = await inMany(GROUPS_MAX, { manyGroups })
    const isKnown = () => {
      identifyCaller(socket, { manyGroups })
      return sharesOf(socket) > 1
    }
    expect(Array.from({ length: 20 }, isKnown)).toEqual([...Array(19).fill(true), false])
    expect(manyGroups.take(1002)).toBe(0)
  })
})

test('a process that has ended and was not waited for is not known either', async () => {
  // The parent lives on without wait(2): its child stays as a zombie, and so does its pid.
  const script = `import os,socket,sys
pid = os.fork()
if pid == 0:
  s = socket.socket(socket.AF_UNIX)
  s.connect(sys.argv[1])
  os._exit(0)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
print('ended', flush=True)
sys.stdin.read()`
  const peer = start(script)
  const accepted = once(server, 'connection')
  await once(peer.stdout ?? peer, 'data')
  const [socket]: Socket[] = await accepted
  if (socket === undefined) throw new Error('no connection')
  identifyCaller(socket)
  expect(() => callerOf(socket)).toThrow(GONE)
})

const CALLER = fileURLToPath(new URL('../../src/caller/caller.ts', import.meta.url))
// Not if the sources lie in a home that is closed to others.
const othersCanRun = isRoot && works('setpriv', '--reuid', '1003', 'test', '-r', CALLER)

describe.skipIf(!othersCanRun)(`an agent without privileges [${NEEDS_ROOT}]`, () => {
  const UNPRIVILEGED = { through: ['setpriv', '--reuid=1003', '--regid=1003', '--clear-groups'] }

  test.skipIf(hierarchies.length === 0)('sees unit and groups, and no executable', async () => {
    const cgroup = cgroups.make(`system.slice/metabind-test-${process.pid}.service`)
    const seen = await seenBy(UNPRIVILEGED, { uid: 1001, groups: [7], cgroups: [cgroup] })
    expect(seen).toEqual({ uid: 1001, seesExecutables: false, caller: expect.anything() })
    const { pid, ...caller } = seen.caller ?? {}
    expect(caller).toEqual({
      uid: 1001,
      gid: 1001,
      groups: [7],
      unit: `metabind-test-${process.pid}.service`,
      slice: 'system.slice',
      namespaces: [],
    })
  })

  test('sees namespaces', async () => {
    const through = ['unshare', '--fork', '--pid', '--user', '--map-root-user', '--kill-child']
    const { caller } = await seenBy(UNPRIVILEGED, { through })
    expect(caller).toMatchObject({ uid: 0, namespaces: ['pid', 'user'] })
  })
})

describeAsRoot(`an agent in another place [${NEEDS_ROOT}]`, () => {
  const ALL = '0 0 4294967295'
  const UNMAPPED = {
    code: 'CALLER_UNKNOWN',
    detail: 'its user has no number in this user namespace',
  }

  test('whose PID namespace does not show a process refuses it, and knows its user', async () => {
    const through = ['unshare', '--fork', '--pid', '--mount-proc', '--kill-child']
    expect(await seenBy({ through }, { uid: 1001 })).toMatchObject({
      uid: 1001,
      refusal: { code: 'CALLER_UNKNOWN', detail: 'it is in a PID namespace not seen here' },
    })
  })

  test('whose user namespace has no number for a group refuses whoever has that', async () => {
    const idMaps = { uid: ALL, gid: '0 0 1000' }
    const known = await seenBy({ idMaps }, { uid: 1001, gid: 999 })
    expect(known.caller).toMatchObject({ uid: 1001, gid: 999 })
    for (const gid of [1000, NOBODY]) {
      // Its user has one, and is known.
      expect(await seenBy({ idMaps }, { uid: 1001, gid })).toMatchObject({
        uid: 1001,
        refusal: UNMAPPED,
      })
    }
  })

  test('whose user namespace has no number for a user knows not even that', async () => {
    const idMaps = { uid: '0 0 1000', gid: ALL }
    expect((await seenBy({ idMaps }, { uid: 999 })).caller).toMatchObject({ uid: 999 })
    for (const uid of [1000, NOBODY]) {
      const { uid: counted, refusal } = await seenBy({ idMaps }, { uid, gid: 5 })
      expect([counted, refusal]).toEqual([undefined, UNMAPPED])
    }
  })

  test.each([
    ['-all,+sys_ptrace', true],
    ['-sys_ptrace', false],
  ])('sees executables with the capability for it and no other: %s', async (bounding, sees) => {
    const through = ['setpriv', `--bounding-set=${bounding}`, '--inh-caps=-all']
    const seen = await seenBy({ through }, { uid: 1001 })
    expect(seen.seesExecutables).toBe(sees)
    expect(seen.caller?.executable !== undefined).toBe(sees)
  })

  test.skipIf(hierarchies.length === 0)('in a container: that one is its host', async () => {
    const [own = '', other = ''] = ['a', 'b'].map((digit) => digit.repeat(64))
    const [inOwn = '', inOther = ''] = [own, other].map((id) =>
      cgroups.make(`system.slice/docker-${id}.scope`),
    )
    const watcher = { cgroups: [inOwn] }
    const beside = await seenBy(watcher, { cgroups: [inOwn] })
    expect(beside.caller).not.toHaveProperty('container')
    const elsewhere = await seenBy(watcher, { cgroups: [inOther] })
    expect(elsewhere.caller).toMatchObject({ container: other })
    const outside = await seenBy(watcher, {})
    expect(outside.caller).not.toHaveProperty('container')
  })
})

asRoot(
  `a process that takes another user since is the one that connected [${NEEDS_ROOT}]`,
  async () => {
    const script = `${CONNECT}os.setgid(1001); os.setuid(1001)
print('changed', flush=True)
s.recv(1)`
    const peer = start(script, { uid: 0 })
    const accepted = once(server, 'connection')
    await once(peer.stdout ?? peer, 'data')
    const [socket]: Socket[] = await accepted
    if (socket === undefined) throw new Error('no connection')
    identifyCaller(socket)
    expect(callerOf(socket)).toMatchObject({ uid: 0, gid: 0, pid: peer.pid })
    // Without a pidfd of the peer it cannot be told from one that has its pid.
    identifyCaller(socket, OLD_KERNEL)
    expect(() => callerOf(socket)).toThrow(TAKEN_OVER)
    socket.destroy()
    await once(peer, 'exit')
  },
)

test('no file descriptor is left open', async () => {
  const peer = start(STAY)
  const socket = await accept()
  const before = readdirSync('/proc/self/fd').length
  for (let round = 0; round < 100; round += 1) identifyCaller(socket)
  expect(readdirSync('/proc/self/fd')).toHaveLength(before)
  socket.destroy()
  await once(peer, 'exit')
})

describeAsRoot(`a pid that was given to another process before accept [${NEEDS_ROOT}]`, () => {
  /** A process connects and is gone; another, of another user in another unit, has its pid. */
  async function recycle(victimUid: number): Promise<Socket> {
    const cgroup = cgroups.make(`system.slice/victim-${process.pid}.service`)
    for (let attempt = 0; attempt < 50; attempt += 1) {
      // The loop is held until the victim runs, so that accept comes after it.
      const { pid } = spawnSync(PYTHON, ['-c', `${CONNECT}os._exit(0)`, path])
      nextPid(pid)
      const victim = startPeer('import sys; sys.stdin.read()', [], {
        uid: victimUid,
        cgroups: [cgroup],
      })
      peers.push(victim)
      const [socket]: Socket[] = await once(server, 'connection')
      if (socket !== undefined && victim.pid === pid) return socket
      socket?.destroy()
      await endPeer(victim)
    }
    throw new Error('no pid could be given anew in 50 tries')
  }
  const can = hierarchies.length > 0 && existsSync('/proc/sys/kernel/ns_last_pid')

  test.skipIf(!can)('is not taken for the one that connected', async () => {
    const socket = await recycle(0)
    identifyCaller(socket)
    expect(() => callerOf(socket)).toThrow(TAKEN_OVER)
  })

  test.skipIf(!can).each(KERNELS.slice(1))(
    'nor %s, when it is of another user',
    async (_, parts) => {
      const socket = await recycle(1001)
      // Until it has taken its own uid it has that of root, who connected.
      const victim = peers.at(-1)?.pid
      const uids = () => /^Uid:\t(\d+)/m.exec(readFileSync(`/proc/${victim}/status`, 'utf8'))?.[1]
      await expect.poll(uids, { timeout: 120_000 }).toBe('1001')
      identifyCaller(socket, parts)
      expect(() => callerOf(socket)).toThrow(TAKEN_OVER)
    },
  )
})

describe.skipIf(hierarchies.length === 0)(`units, by real cgroups [${NEEDS_ROOT}]`, () => {
  const [first = '', second] = hierarchies
  const unit = `metabind-test-${process.pid}.service`

  test.each(hierarchies)('of a service, in %s', async (hierarchy) => {
    const cgroup = cgroups.make(`system.slice/${unit}`, hierarchy)
    const { caller } = await callerFrom({ uid: 1001, cgroups: [cgroup] })
    expect(caller).toMatchObject({ uid: 1001, unit, slice: 'system.slice' })
  })

  test('what a unit makes below itself is not another unit', async () => {
    const cgroup = cgroups.make(`system.slice/${unit}/root.service`)
    const { caller } = await callerFrom({ cgroups: [cgroup] })
    expect(caller).toMatchObject({ unit })
  })

  test('a container', async () => {
    const id = '0123456789abcdef'.repeat(4)
    const cgroup = cgroups.make(`system.slice/docker-${id}.scope`)
    const { caller } = await callerFrom({ cgroups: [cgroup] })
    expect(caller).toMatchObject({ unit: `docker-${id}.scope`, container: id, namespaces: [] })
  })

  test.skipIf(second === undefined)('two that differ are none', async () => {
    const one = cgroups.make(`system.slice/${unit}`, first)
    const other = cgroups.make(`system.slice/other-${unit}`, second)
    const { caller } = await callerFrom({ cgroups: [one, other] })
    expect(caller).not.toHaveProperty('unit')
  })
})

describeAsRoot(`root of the host, for whom connections are kept [${NEEDS_ROOT}]`, () => {
  const isRootOf = async (options: PeerOptions) => {
    start(STAY, options)
    return isHostRoot(await accept())
  }

  test('is root, and no other user', async () => {
    expect(await isRootOf({ uid: 0 })).toBe(true)
    expect(await isRootOf({ uid: 1001, gid: 0 })).toBe(false)
  })

  test('is not root in a namespace', async () => {
    for (const kind of ['--pid', '--user']) {
      const map = kind === '--user' ? ['--map-root-user'] : ['--kill-child']
      expect(await isRootOf({ through: ['unshare', '--fork', kind, ...map] })).toBe(false)
    }
  })

  test.skipIf(hierarchies.length === 0)('is not root of a container', async () => {
    const cgroup = cgroups.make(`system.slice/docker-${'0'.repeat(64)}.scope`)
    expect(await isRootOf({ cgroups: [cgroup] })).toBe(false)
  })

  test('is nobody who cannot be looked at', async () => {
    spawnSync(PYTHON, ['-c', CONNECT, path])
    const socket = await accept()
    expect([uidOf(socket), isHostRoot(socket)]).toEqual([0, false])
  })
})

describeAsRoot(`namespaces [${NEEDS_ROOT}]`, () => {
  test('of PIDs: the caller has its pid here, not its pid there', async () => {
    const through = ['unshare', '--fork', '--pid', '--kill-child']
    const script = `${CONNECT}print(os.getpid(), flush=True)\ns.recv(1)`
    const peer = start(script, { uid: 0, through })
    const [[said], socket] = await Promise.all([once(peer.stdout ?? peer, 'data'), accept()])
    expect(String(said)).toBe('1\n')
    const caller = callerOf(socket)
    expect(caller.namespaces).toEqual(['pid'])
    expect(caller.pid).toBeGreaterThan(1)
    expect(caller.pid).not.toBe(peer.pid)
    socket.destroy()
    await once(peer, 'exit')
  })

  const canMakeUserNamespace = works('setpriv', '--reuid', '1001', 'unshare', '--user', 'true')
  test.skipIf(!canMakeUserNamespace)('of users: root there is who it is here', async () => {
    const { caller } = await callerFrom({ uid: 1001, through: ['unshare', '--map-root-user'] })
    expect(caller).toMatchObject({ uid: 1001, namespaces: ['user'] })
  })
})

describeAsRoot(`executables [${NEEDS_ROOT}]`, () => {
  const namesAny = { namesExecutable: () => true }

  /** A process that runs the file `runs`: a copy of sleep, so that nothing depends on where it lies. */
  async function afterExec(file: string, through: readonly string[] = []) {
    const script = `${CONNECT}s.set_inheritable(True)\nos.execv(sys.argv[2], [sys.argv[2], '30'])`
    const peer = start(script, { uid: 1001, through }, [file])
    const [socket]: Socket[] = await once(server, 'connection')
    if (socket === undefined) throw new Error('no connection')
    await untilExec(peer)
    return socket
  }

  async function untilExec(peer: ChildProcess): Promise<void> {
    for (let tries = 0; tries < 500; tries += 1) {
      if (readFileSync(`/proc/${peer.pid}/cmdline`, 'latin1').endsWith('\x0030\0')) return
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    throw new Error('no exec')
  }

  test('are what runs at accept, even if another file connected', async () => {
    const file = join(dir, 'app')
    await copyFile('/bin/sleep', file)
    const socket = await afterExec(file)
    identifyCaller(socket, namesAny)
    expect(callerOf(socket)).toMatchObject({ uid: 1001, executable: file })
  })

  test('are known only where a rule names them', async () => {
    const file = join(dir, 'app')
    await copyFile('/bin/sleep', file)
    const socket = await afterExec(file)
    identifyCaller(socket, { namesExecutable: (one) => one === '/usr/bin/other' })
    expect(callerOf(socket)).not.toHaveProperty('executable')
  })

  test('in a mount namespace: another file at the path of an allowed one is not that one', async () => {
    const file = join(dir, 'app')
    const fake = join(dir, 'fake')
    await copyFile('/bin/sleep', file)
    await copyFile('/bin/sleep', fake)
    const mount = `mount --bind ${fake} ${file} && exec setpriv --reuid 1001 -- "$@"`
    const script = `${CONNECT}s.set_inheritable(True)\nos.execv(sys.argv[2], [sys.argv[2], '30'])`
    const peer = start(script, { through: ['unshare', '--mount', 'sh', '-c', mount, 'sh'] }, [file])
    const [socket]: Socket[] = await once(server, 'connection')
    if (socket === undefined) throw new Error('no connection')
    await untilExec(peer)
    expect(readlinkSync(`/proc/${peer.pid}/exe`)).toBe(file)
    identifyCaller(socket, namesAny)
    expect(callerOf(socket)).not.toHaveProperty('executable')
  })

  test('with the inode of an allowed one, on another file system, are not that one', async () => {
    const at = join(dir, 'at')
    const file = join(at, 'app')
    // Each new file system counts its inodes from the same number.
    const mount = (where: string) =>
      `mkdir -p ${where} && mount -t tmpfs none ${where} && cp /bin/sleep ${where}/app`
    const replace = `mount -t tmpfs none ${at} && cp /bin/sleep ${file} && exec "$@"`
    execFileSync('sh', ['-ec', mount(at)])
    try {
      const script = `${CONNECT}s.set_inheritable(True)\nos.execv(sys.argv[2], [sys.argv[2], '30'])`
      const peer = start(script, { through: ['unshare', '--mount', 'sh', '-ec', replace, 'sh'] }, [
        file,
      ])
      const [socket]: Socket[] = await once(server, 'connection')
      if (socket === undefined) throw new Error('no connection')
      await untilExec(peer)
      const [runs, lies] = [statSync(`/proc/${peer.pid}/exe`), statSync(file)]
      expect([readlinkSync(`/proc/${peer.pid}/exe`), runs.ino]).toEqual([file, lies.ino])
      expect(runs.dev).not.toBe(lies.dev)
      identifyCaller(socket, namesAny)
      expect(callerOf(socket)).not.toHaveProperty('executable')
    } finally {
      execFileSync('umount', [at])
    }
  })

  test('that were replaced since the process started are not the file at their path', async () => {
    const file = join(dir, 'app')
    await copyFile('/bin/sleep', file)
    const socket = await afterExec(file)
    await rm(file)
    await copyFile('/bin/sleep', file)
    identifyCaller(socket, namesAny)
    expect(callerOf(socket)).not.toHaveProperty('executable')
  })
})
