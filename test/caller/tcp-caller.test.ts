import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { CONTAINED_CONNECTIONS_MAX, destinationOf } from '../../src/caller/tcp-caller.ts'
import { asUser, type Networks, openNetworks } from '../harness/networks.ts'
import {
  type Cgroups,
  endPeer,
  isRoot,
  makeCgroups,
  NEEDS_ROOT,
  PYTHON,
  systemdHierarchies,
} from '../harness/peer.ts'

/**
 * Callers over TCP, by real connections under real redirections, in a network of its own. The kernel
 * names a user at most; each check here keeps somebody from being taken for another.
 */

const LISTENER = fileURLToPath(new URL('../harness/tcp-listener.ts', import.meta.url))
const SERVICE = '100.100.100.200'
const OTHER_SERVICE = '100.100.100.201'
const PORT = 9180
const AGENT = 61_001
const APP = 61_002
const OTHER = 61_003
/** No process and no group: these two fit nobody. */
const NOBODYS = { pid: 0, gid: 0xffff_ffff, groups: [] }
const CONTAINER = 'c'.repeat(64)
const UNPLACED = 'its control group is out of sight, or not one'
const UNCONTAINED = 'no container has its connection'
/** Where sock_diag finds cgroups: in version 2. */
const [cgroup2] = isRoot ? systemdHierarchies().slice(-1) : []
/** And that of version 1 beside it, if this machine has both. */
const [cgroup1] = isRoot ? systemdHierarchies().slice(0, -1) : []

interface Seen {
  readonly caller?: Readonly<Record<string, unknown>>
  readonly uid?: number
  /** Why there is no caller, as the log will say. */
  readonly why?: string
  readonly isRedirected: boolean
  readonly isOpen: boolean
}

interface Listener {
  readonly child: ChildProcess
  /** What is known of the connections that a user's process makes, in their order. */
  seenOf(where: readonly string[], address: string, port: number, options?: Client): Promise<Seen[]>
}

interface Client {
  readonly count?: number
  readonly cgroup?: string
  /** Python, with `s`, after each connect. */
  readonly after?: string
  /** Called when all are connected, and `after` was done. */
  readonly onConnected?: () => void
}

let networks: Networks
let cgroups: Cgroups
let started: ChildProcess[] = []

/** Redirects what lockdown would, and more: another port and another address too. */
const RULES = `table ip test {
  chain out {
    type nat hook output priority -100
    ip daddr { ${SERVICE}, ${OTHER_SERVICE} } tcp dport { 80, 81 } redirect to :${PORT}
  }
}`

async function listen(
  how: string,
  address: string,
  port: number,
  to = SERVICE,
  toPort = 80,
  through: readonly string[] = [],
): Promise<Listener> {
  const args = [process.execPath, LISTENER, how, address, String(port), to, String(toPort)]
  const [file = '', ...rest] = [...networks.hostPrefix, ...through, ...asUser(AGENT), ...args]
  const child = spawn(file, rest, { stdio: ['ignore', 'pipe', 'inherit'] })
  started.push(child)
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const said = async () => (await lines.next()).value ?? ''
  expect(await said()).toBe('listening')
  const seenOf: Listener['seenOf'] = async (where, to, toPort, options = {}) => {
    const { count = 1, cgroup, after = '', onConnected } = options
    const script = `import socket,sys
made = []
for _ in range(${count}):
  s = socket.socket(); s.connect((${JSON.stringify(to)}, ${toPort})); made.append(s)
  ${after}
print('connected', flush=True)
sys.stdin.read()`
    const enter = cgroup === undefined ? '' : `echo $$ > ${cgroup}/cgroup.procs; `
    const command = ['-c', `${enter}exec "$@"`, 'sh', ...where, PYTHON, '-c', script]
    const client = spawn('sh', command, { stdio: ['pipe', 'pipe', 'inherit'], cwd: '/' })
    started.push(client)
    await once(client.stdout, 'data')
    onConnected?.()
    const seen: Seen[] = []
    for (let at = 0; at < count; at += 1) seen.push(JSON.parse(await said()))
    return seen
  }
  return { child, seenOf }
}

describe.skipIf(!isRoot)(`callers over TCP [${NEEDS_ROOT}]`, () => {
  beforeAll(async () => {
    networks = await openNetworks(SERVICE)
    await networks.inHost(undefined, 'ip', 'route', 'add', OTHER_SERVICE, 'via', '10.77.0.1')
    await networks.inHost(undefined, 'sh', '-ec', `nft -f - <<'END'\n${RULES}\nEND`)
  })
  afterAll(() => networks?.stop())
  afterEach(async () => {
    await Promise.all(started.map(endPeer))
    started = []
    cgroups?.remove()
  })

  const from = (uid: number) => [...networks.hostPrefix, ...asUser(uid)]

  describe('that a rule brought here', () => {
    const redirected = () => listen('redirected', '127.0.0.1', PORT)

    test('are the user that made the socket, and no process, group or member of one', async () => {
      const [seen] = await (await redirected()).seenOf(from(APP), SERVICE, 80)
      expect(seen).toMatchObject({ uid: APP, isRedirected: true, isOpen: true })
      expect(seen?.caller).toMatchObject({ ...NOBODYS, uid: APP, namespaces: [] })
      expect(seen?.caller).not.toHaveProperty('container')
    })

    test.each([
      ['another port of the service', SERVICE, 81],
      ['another address', OTHER_SERVICE, 80],
      ['this listener itself', '127.0.0.1', PORT],
    ])('are not those who were going to %s', async (_what, address, port) => {
      const listener = await redirected()
      const [seen] = await listener.seenOf(from(APP), address, port)
      const why = 'no rule of the firewall brought it here'
      expect(seen).toEqual({ why, isRedirected: false, isOpen: true })
    })

    test('are not the agent itself, whose connections no rule brings here', async () => {
      const [seen] = await (await redirected()).seenOf(from(AGENT), SERVICE, 80)
      const why = 'it seems to be the agent, whose connections no rule redirects'
      expect(seen).toEqual({ why, isRedirected: true, isOpen: true })
    })

    test('are nobody, and not root, once they have closed', async () => {
      const listener = await redirected()
      listener.child.kill('SIGSTOP')
      const onConnected = () => listener.child.kill('SIGCONT')
      const options = { after: 's.close()', onConnected }
      const [one] = await listener.seenOf(from(APP), SERVICE, 80, options)
      const why = 'the kernel knows no open socket at its end'
      expect(one).toMatchObject({ why, isRedirected: true })
      expect(one).not.toHaveProperty('caller')
      expect(one).not.toHaveProperty('uid')
    })

    test.skipIf(cgroup2 === undefined)(
      'are refused where their cgroup is out of sight, and counted for their user',
      async () => {
        const blind = await listen('blind', '127.0.0.1', PORT)
        cgroups = makeCgroups()
        const cgroup = cgroups.make(`system.slice/metabind-new-${process.pid}.service`, cgroup2)
        const [seen] = await blind.seenOf(from(APP), SERVICE, 80, { cgroup })
        expect(seen).toEqual({ uid: APP, why: UNPLACED, isRedirected: true, isOpen: true })
        // It is looked for when another user is in it.
        const [other] = await blind.seenOf(from(OTHER), SERVICE, 80, { cgroup })
        expect(other?.caller).toMatchObject({ uid: OTHER })
      },
    )

    test('are refused where the agent may not read cgroups, and the record has what it may not', async () => {
      const seal = 'mount -t tmpfs -o mode=000 none /sys/fs/cgroup && exec "$@"'
      const through = ['unshare', '--mount', 'sh', '-c', seal, 'sh']
      const sealed = await listen('redirected', '127.0.0.1', PORT, SERVICE, 80, through)
      for (let round = 0; round < 2; round += 1) {
        const [seen] = await sealed.seenOf(from(APP), SERVICE, 80)
        expect(seen).toEqual({
          uid: APP,
          why: expect.stringMatching(
            /^its control group cannot be looked up: EACCES: .*'\/sys\/fs\/cgroup\//,
          ),
          isRedirected: true,
          isOpen: true,
        })
      }
    })

    test.skipIf(cgroup2 === undefined)(
      'are in the unit and container of their cgroup',
      async () => {
        cgroups = makeCgroups()
        const listener = await redirected()
        const unit = `metabind-tcp-${process.pid}.service`
        const cgroup = cgroups.make(`system.slice/${unit}`, cgroup2)
        const [seen] = await listener.seenOf(from(APP), SERVICE, 80, { cgroup })
        expect(seen?.caller).toMatchObject({ unit, slice: 'system.slice' })
        const scope = `docker-${CONTAINER}.scope`
        const inContainer = cgroups.make(`system.slice/${scope}`, cgroup2)
        const [contained] = await listener.seenOf(from(0), SERVICE, 80, { cgroup: inContainer })
        expect(contained?.caller).toMatchObject({ uid: 0, unit: scope, container: CONTAINER })
      },
    )

    test.skipIf(cgroup1 === undefined)(
      'are nobody if their cgroup holds a process that only version 1 has in a container',
      async () => {
        cgroups = makeCgroups()
        const listener = await redirected()
        const unit = cgroups.make(`system.slice/runtime-${process.pid}.service`, cgroup2)
        const scope = cgroups.make(`system.slice/docker-${CONTAINER}.scope`, cgroup1)
        const [before] = await listener.seenOf(from(0), SERVICE, 80, { cgroup: unit })
        expect(before?.caller).toMatchObject({ uid: 0, slice: 'system.slice' })
        const moved = `${scope}/cgroup.procs; echo $$ > ${unit}`
        const [root] = await listener.seenOf(from(0), SERVICE, 80, { cgroup: moved })
        expect(root).toEqual({ uid: 0, why: UNPLACED, isRedirected: true, isOpen: true })
        // Nobody could say which of the two has the socket.
        const [after] = await listener.seenOf(from(0), SERVICE, 80, { cgroup: unit })
        expect(after).not.toHaveProperty('caller')
      },
    )
  })

  test('that connected to a loopback address are the user that made the socket', async () => {
    const listener = await listen('loopback', '127.0.0.2', 9182)
    const [seen] = await listener.seenOf(from(APP), '127.0.0.2', 9182)
    expect(seen?.caller).toMatchObject({ ...NOBODYS, uid: APP, namespaces: [] })
    // Here the agent is a user like any other: `metabind exec` may run as it.
    const [own] = await listener.seenOf(from(AGENT), '127.0.0.2', 9182)
    expect(own).toMatchObject({ uid: AGENT, isRedirected: false })
  })

  describe.skipIf(cgroup2 === undefined)('in a network of their own', () => {
    const bridge = '10.78.0.1'
    const contained = () => listen('contained', bridge, 8080, bridge, 8080)
    const inPod = (uid: number) => [...networks.podPrefix, ...asUser(uid)]
    beforeEach(() => {
      cgroups = makeCgroups()
    })
    const container = (id = CONTAINER, below = 'system.slice') =>
      cgroups.make(`${below}/docker-${id}.scope`, cgroup2)
    /** A process that does nothing there. */
    const stay = async (where: readonly string[], cgroup: string) => {
      const script = `echo $$ > ${cgroup}/cgroup.procs; echo there; exec "$@"`
      const child = spawn('sh', ['-c', script, 'sh', ...where, 'sleep', '60'])
      started.push(child)
      await once(child.stdout, 'data')
      // It enters the network of the pod a moment later.
      await expect.poll(() => readFileSync(`/proc/${child.pid}/comm`, 'utf8')).toBe('sleep\n')
    }

    test.each([APP, 0])(
      'are the user %d of a container, and never one of the host',
      async (uid) => {
        const listener = await contained()
        const [seen] = await listener.seenOf(inPod(uid), bridge, 8080, { cgroup: container() })
        expect(seen).toEqual({
          caller: { ...NOBODYS, uid, namespaces: ['network'], container: CONTAINER },
          uid,
          isRedirected: true,
          isOpen: true,
        })
      },
    )

    test('are of no container where several share the network', async () => {
      const listener = await contained()
      await stay(networks.podPrefix, container('a'.repeat(64)))
      const [seen] = await listener.seenOf(inPod(APP), bridge, 8080, { cgroup: container() })
      expect(seen?.caller).toEqual({ ...NOBODYS, uid: APP, namespaces: ['network'] })
    })

    test('are nobody in a container that only its own user says to be one', async () => {
      const listener = await contained()
      const cgroup = container(CONTAINER, `user.slice/user-${APP}.slice/user@${APP}.service`)
      const [seen] = await listener.seenOf(inPod(APP), bridge, 8080, { cgroup })
      expect(seen).toEqual({ why: UNCONTAINED, isRedirected: true, isOpen: true })
    })

    test('are nobody in a container that is in the network of the host', async () => {
      const listener = await contained()
      const [seen] = await listener.seenOf(from(APP), bridge, 8080, { cgroup: container() })
      expect(seen).toEqual({ why: UNCONTAINED, isRedirected: true, isOpen: true })
    })

    test('are nobody where no container has the connection, as another machine', async () => {
      const [seen] = await (await contained()).seenOf(inPod(APP), bridge, 8080)
      expect(seen).toEqual({ why: UNCONTAINED, isRedirected: true, isOpen: true })
    })

    test('are closed unheard beyond so many from one address', async () => {
      const listener = await contained()
      const count = CONTAINED_CONNECTIONS_MAX + 2
      const seen = await listener.seenOf(inPod(APP), bridge, 8080, { count })
      const closed = seen.filter(({ isOpen }) => !isOpen)
      expect(closed).toEqual([
        { isRedirected: false, isOpen: false },
        { isRedirected: false, isOpen: false },
      ])
    })
  })
})

test.each([
  ['http://100.100.100.200', '100.100.100.200', 80],
  ['http://169.254.169.254:8080', '169.254.169.254', 8080],
])('the service at %s', (endpoint, address, port) => {
  expect(destinationOf(endpoint)).toEqual({ address, port })
})

test.each(['http://metadata.example', 'http://[fd00:ec2::254]'])('%s cannot be guarded', (name) => {
  expect(() => destinationOf(name)).toThrow(expect.objectContaining({ code: 'LISTEN_FAILED' }))
})
