import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { makeCgroup, type TestCgroup } from '../harness/cgroup.ts'
import { leaveDescriptors } from '../harness/descriptors.ts'
import {
  AGENT,
  APP,
  type Guarded,
  LISTENERS,
  SERVICE,
  startGuarded,
  TPM_GROUP,
} from '../harness/guarded.ts'
import { asUser } from '../harness/networks.ts'

/** What containers with a network of their own send to the service, redirected to the agent. */

const isRoot = process.getuid?.() === 0
const ID = `${SERVICE}/latest/meta-data/instance-id`
const WHOAMI = `${SERVICE}/metabind/v1/whoami`
const CREDENTIALS = `${SERVICE}/latest/meta-data/ram/security-credentials/app-role`
const PUT = ['-X', 'PUT', '-H', 'X-aliyun-ecs-metadata-token-ttl-seconds: 600']
const TOKEN_URL = `${SERVICE}/latest/api/token`
/** curl's words for a refused or reset connection. */
const CUT = /Connection refused|Connection reset|Could ?n[o']t connect|Failed to connect/
// Of this run alone: the cgroups of an interrupted one may still be there.
const CONTAINER = `c${randomBytes(32).toString('hex').slice(1)}`
const ALLOWED = `a11${randomBytes(32).toString('hex').slice(3)}`
const RULES = `[[rule]]
name = "one container reads credentials"
effect = "allow"
containers = ["a11*"]
paths = ["/*/meta-data/ram/security-credentials/*"]
`
const LONG_MS = 600_000
/**
 * Python that has begun to ask when it says so, and asks to the end when it is told to: what is kept without a request
 * the service closes after five seconds. What is begun it refuses with 408 after `request_timeout_ms`.
 */
const BEGUN = `import http.client, socket, sys
s = socket.create_connection(('100.100.100.200', 80), timeout=20)
s.sendall(b'GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: x\\r\\n')
print('begun', flush=True)
sys.stdin.readline()
try:
    s.sendall(b'\\r\\n'); r = http.client.HTTPResponse(s); r.begin(); print(r.read().decode(), flush=True)
except OSError as e:
    print(type(e).__name__, flush=True)`

const REDIRECT = ['on', '--containers', 'redirect']
const canMakeCgroups = isRoot && (await canMake())

async function canMake(): Promise<boolean> {
  const made = await makeCgroup(`metabind-containers-${process.pid}.scope`)
  await made?.remove()
  return made !== undefined
}

describe.skipIf(!canMakeCgroups)('lockdown and containers', { timeout: LONG_MS }, () => {
  let guarded: Guarded
  let container: TestCgroup
  let allowed: TestCgroup
  const holders: ChildProcess[] = []

  beforeAll(async () => {
    guarded = await startGuarded({
      holdsContainers: true,
      rules: RULES,
      tokens: 'optional',
      config: `${LISTENERS}[limits]\nconnections_per_uid = 256\nrequest_timeout_ms = 600000\n`,
    })
    container = await container64(CONTAINER)
    allowed = await container64(ALLOWED)
  })
  afterEach(async () => {
    for (const holder of holders.splice(0)) holder.kill('SIGKILL')
    await guarded.lockdown('off')
  })
  afterAll(async () => {
    await guarded?.stop()
    await container?.remove()
    await allowed?.remove()
  })

  async function container64(id: string): Promise<TestCgroup> {
    const made = await makeCgroup(`docker-${id}.scope`)
    if (made === undefined) throw new Error('no cgroup')
    return made
  }

  /** curl in the network of the pod, in a container, as a user. */
  function curl(within: TestCgroup, uid: number | undefined, ...args: string[]): Promise<string> {
    const command = [...asUser(uid), 'curl', '-sS', '--max-time', '60', ...args]
    return guarded.networks.inPod(...within.prefix, ...command)
  }
  const carrying = (token: string) => ['-H', `X-aliyun-ecs-metadata-token: ${token}`]

  /** A process in the pod's network that stays until the test is over. */
  async function hold(prefix: readonly string[], script: string): Promise<ChildProcess> {
    const [file = '', ...args] = [...guarded.networks.podPrefix, ...prefix]
    const child = spawn(file, [...args, '/usr/bin/python3', '-c', script])
    holders.push(child)
    await once(child.stdout, 'data')
    return child
  }

  test('whom the agent has no descriptor to look for is told to come again', async () => {
    await guarded.lockdown(...REDIRECT)
    const ask = async () => {
      const as = asUser(AGENT, TPM_GROUP)
      using _few = leaveDescriptors(guarded.instance.agent.child.pid ?? 0, 1, as)
      const said = await curl(container, APP, '--max-time', '5', ...PUT, TOKEN_URL).catch(String)
      return said
    }
    // One is for the connection. Others may just be given back, or that one be taken for something else.
    await expect.poll(ask).toMatch(/^LIMIT_CONNECTIONS: /)
    expect(await curl(container, APP, ...PUT, TOKEN_URL)).toMatch(/^[A-Za-z0-9_-]{86}$/)
  })

  test('callers are answered by the agent, by user and container, over a bridge', async () => {
    await guarded.lockdown(...REDIRECT)
    await guarded.cloud.requests()
    const token = await curl(container, APP, ...PUT, TOKEN_URL)
    expect(token).toMatch(/^[A-Za-z0-9_-]{86}$/)
    expect(await curl(container, APP, ...carrying(token), ID)).toBe('i-bp1guarded')
    expect(JSON.parse(await curl(container, APP, ...carrying(token), WHOAMI))).toEqual({
      pid: 0,
      uid: APP,
      gid: 0xffff_ffff,
      groups: [],
      namespaces: ['network'],
      container: CONTAINER,
    })
    const issued = await guarded.instance.agent.until(({ event }) => event === 'token.issued')
    expect(issued.caller).toMatchObject({ uid: APP, container: CONTAINER })
    const headers = (await guarded.cloud.requests()).flatMap(({ rawHeaders }) => rawHeaders)
    expect(headers).not.toContain(token)
    const { redirected } = JSON.parse(await guarded.lockdown('status', '--json'))
    expect(redirected).toBe(3)
  })

  test('the rules of the socket hold: no token, a forwarded request, the policy', async () => {
    await guarded.lockdown(...REDIRECT)
    expect(await curl(container, APP, ID)).toMatch(/^TOKEN_MISSING: /)
    const forwarded = [...PUT, '-H', 'X-Forwarded-For: 10.0.0.1']
    expect(await curl(container, APP, ...forwarded, TOKEN_URL)).toMatch(/^REQUEST_FORWARDED: /)
    const read = async (within: TestCgroup) => {
      const token = await curl(within, undefined, ...PUT, TOKEN_URL)
      return curl(within, undefined, ...carrying(token), CREDENTIALS)
    }
    // Root of a container is not the root that the default speaks of.
    expect(await read(container)).toMatch(/^POLICY_DENIED: /)
    expect(JSON.parse(await read(allowed)).Code).toBe('Success')
  })

  test('a token of one user in a container is none of another', async () => {
    await guarded.lockdown(...REDIRECT)
    const token = await curl(container, APP, ...PUT, TOKEN_URL)
    expect(await curl(container, undefined, ...carrying(token), ID)).toMatch(/^TOKEN_/)
  })

  test('an IPv6 socket names its user as well', async () => {
    await guarded.lockdown(...REDIRECT)
    const script = `import socket
s = socket.socket(socket.AF_INET6)
s.connect(('::ffff:100.100.100.200', 80))
s.send(b'GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')
print(s.recv(4096).decode())`
    const python = ['/usr/bin/python3', '-c', script]
    expect(await guarded.networks.inPod(...container.prefix, ...python)).toContain('TOKEN_MISSING')
  })

  test('root of a container uses up nothing of what root of the host may have', async () => {
    await guarded.lockdown(...REDIRECT)
    const script = `import socket, time
held = [socket.create_connection(('100.100.100.200', 80)) for _ in range(64)]
for s in held: s.send(b'GET /latest/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
for s in held: s.recv(99)
print('held', flush=True); time.sleep(60)`
    await hold(container.prefix, script)
    expect(await curl(container, undefined, ID)).toMatch(/^LIMIT_CONNECTIONS: /)
    expect(await guarded.curl(undefined, ID)).toMatch(/^TOKEN_MISSING: /)
  })

  test('each of many connections at once is named, among thousands of other sockets', async () => {
    await guarded.lockdown(...REDIRECT)
    const script = `import resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
l = socket.create_server(('127.0.0.1', 7000), backlog=2048)
others = []
for _ in range(1500):
    others.append(socket.create_connection(('127.0.0.1', 7000))); others.append(l.accept()[0])
asked = [socket.create_connection(('100.100.100.200', 80)) for _ in range(60)]
for s in asked: s.send(b'GET /latest/ HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')
said = []
for s in asked:
    s.settimeout(10); said.append(s.recv(4096).split(b'\\r\\n\\r\\n')[1].split(b':')[0].decode())
print(len(said), *sorted(set(said)))`
    const python = [...asUser(APP), '/usr/bin/python3', '-c', script]
    expect(await guarded.networks.inPod(...container.prefix, ...python)).toBe('60 TOKEN_MISSING\n')
  })

  test('who is in no container that is known as one is refused', async () => {
    await guarded.lockdown(...REDIRECT)
    const asked = await guarded.networks.inPod('curl', '-sS', '--max-time', '60', ...PUT, TOKEN_URL)
    expect(asked).toMatch(/^CALLER_UNKNOWN: /)
  })

  test('a flood of those, held open, holds up nobody else', async () => {
    await guarded.lockdown(...REDIRECT)
    const script = `import resource, socket, time
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
held = []
for _ in range(600):
    s = socket.socket(); s.setblocking(False); s.connect_ex(('100.100.100.200', 80)); held.append(s)
print('held', flush=True); time.sleep(60)`
    await hold([], script)
    const open = async () => {
      const listed = await guarded.networks.inHost(
        undefined,
        'ss',
        '-tnH',
        'src',
        '100.100.100.200',
      )
      return listed.split('\n').filter((line) => line.startsWith('ESTAB')).length
    }
    await expect.poll(open).toBeLessThanOrEqual(256)
    expect(await guarded.curl(undefined, ID)).toMatch(/^TOKEN_MISSING: /)
  })

  test('a flood of those that close at once ends nothing', async () => {
    await guarded.lockdown(...REDIRECT)
    const script = `import socket, struct
for _ in range(4):
    flood = []
    for _ in range(150):
        s = socket.socket(); s.setblocking(False)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        s.connect_ex(('100.100.100.200', 80)); flood.append(s)
    for s in flood[::2]: s.close()
print('done')`
    const flood = guarded.networks.inPod('/usr/bin/python3', '-c', script)
    expect(await guarded.curl(APP, ID)).toMatch(/^TOKEN_MISSING: /)
    expect(await flood).toBe('done\n')
    // The same address, so this one may be one too many; not for long.
    await expect.poll(() => curl(container, APP, ID)).toMatch(/^TOKEN_MISSING: /)
  })

  test('in a network of several containers, as of a pod, none is named', async () => {
    await guarded.lockdown(...REDIRECT)
    await hold(allowed.prefix, "import time\nprint('here', flush=True)\ntime.sleep(60)")
    const token = await curl(container, undefined, ...PUT, TOKEN_URL)
    const said = JSON.parse(await curl(container, undefined, ...carrying(token), WHOAMI))
    expect(said).toMatchObject({ uid: 0, namespaces: ['network'] })
    expect(said.container).toBeUndefined()
    expect(await curl(container, undefined, ...carrying(token), CREDENTIALS)).toMatch(
      /^POLICY_DENIED: /,
    )
  })

  test('other ports are refused, and a connection that was open before is cut', async () => {
    const script = `import socket, sys
s = socket.create_connection(('100.100.100.200', 80))
print('open', flush=True)
sys.stdin.readline()
s.send(b'GET / HTTP/1.0\\r\\n\\r\\n')
try:
    print(s.recv(4096).decode(), flush=True)
except OSError as e:
    print(type(e).__name__, flush=True)`
    const open = await hold(container.prefix, script)
    await guarded.lockdown(...REDIRECT)
    open.stdin?.write('go\n')
    const [said]: Buffer[] = await once(open.stdout ?? open, 'data')
    expect(String(said)).toContain('ConnectionResetError')
    await expect(curl(container, APP, `${SERVICE}:8080/`)).rejects.toThrow(CUT)
  })

  test('with the agent gone nobody is let through', async () => {
    await guarded.lockdown(...REDIRECT)
    await guarded.instance.agent.stop('SIGKILL')
    await guarded.cloud.requests()
    await expect(curl(container, APP, ...PUT, TOKEN_URL)).rejects.toThrow(CUT)
    expect(await guarded.cloud.requests()).toEqual([])
    await guarded.instance.restartAgent()
    expect(await curl(container, APP, ...PUT, TOKEN_URL)).toMatch(/^[A-Za-z0-9_-]{86}$/)
  })

  test('--for rolls back, and off leaves neither rules nor routes', async () => {
    const routing = () =>
      guarded.networks.inHost(undefined, 'sh', '-c', 'ip -d -4 rule; ip -4 route show table all')
    const before = await routing()
    await guarded.lockdown(...REDIRECT, '--for', '2s')
    expect(await routing()).toContain('fwmark 0x6d626e64 lookup 7764 proto kernel')
    await sleep(2500)
    expect(await curl(container, APP, ID)).toBe('i-bp1guarded')
    await guarded.lockdown(...REDIRECT)
    await guarded.lockdown(...REDIRECT)
    await guarded.lockdown('on')
    expect(await routing()).toBe(before)
    await guarded.lockdown(...REDIRECT)
    await guarded.lockdown('off')
    expect(await routing()).toBe(before)
  })

  test('observing counts who in a container reads without a token, and disturbs nobody', async () => {
    const before = await hold(container.prefix, BEGUN)
    await guarded.lockdown('on', '--observe', '--containers', 'redirect')
    before.stdin?.write('again\n')
    const [said]: Buffer[] = await once(before.stdout ?? before, 'data')
    expect(String(said).trim()).toBe('i-bp1guarded')
    expect(await curl(container, APP, ID)).toBe('i-bp1guarded')
    const token = await curl(container, APP, ...PUT, TOKEN_URL)
    expect(await curl(container, APP, ...carrying(token), ID)).toBe('i-bp1guarded')
    const told = await guarded.metabind(['observe', '--json']).catch(({ stdout }) => stdout)
    expect(JSON.parse(told).observed).toEqual([
      expect.objectContaining({
        uid: APP,
        container: CONTAINER,
        network: 'own',
        isPlaced: true,
        tokenRequests: 1,
        readsWithToken: 1,
        readsWithoutToken: 1,
      }),
    ])
    const rows = async (...args: string[]) =>
      JSON.parse(await guarded.lockdown('on', ...args, '--preview', '--json')).before
    expect((await rows())[0].verdict).toMatchObject({ outcome: 'refused' })
    expect((await rows('--containers', 'redirect'))[0].verdict.says).toMatch(/last path allowed/)
  })

  test('who was observed is cut by lockdown, in containers and on the host', async () => {
    await guarded.lockdown('on', '--observe', '--containers', 'redirect')
    const inside = await hold(container.prefix, BEGUN)
    const [file = '', ...args] = guarded.networks.hostPrefix
    const outside = spawn(file, [...args, '/usr/bin/python3', '-c', BEGUN])
    holders.push(outside)
    await once(outside.stdout, 'data')
    await guarded.lockdown(...REDIRECT)
    for (const child of [inside, outside]) {
      child.stdin?.write('again\n')
      const [said]: Buffer[] = await once(child.stdout ?? child, 'data')
      expect(String(said)).toMatch(/^(ConnectionResetError|TimeoutError)$/m)
    }
  })

  test('a machine of the network reaches the service through neither rules nor agent', async () => {
    const { inCloud, inHost } = guarded.networks
    const beside = `set -e
unshare -n sleep 60 & P=$!
sleep 0.5
ip link add x0 type veth peer name x1 netns $P
ip addr add 10.79.0.1/24 dev x0; ip link set x0 up
nsenter -t $P -n sh -c 'ip addr add 10.79.0.2/24 dev x1; ip link set x1 up; ip route add default via 10.79.0.1'
echo 0 > /proc/sys/net/ipv4/ip_forward
nsenter -t $P -n curl -s -m 3 -o /dev/null -w '%{http_code}' ${ID} || true
echo 1 > /proc/sys/net/ipv4/ip_forward
kill $P`
    // By the interface that the service is reached by.
    const ahead = `ip addr del 100.100.100.200/32 dev lo; ip route add 100.100.100.200 via 10.77.0.2
curl -s -m 2 -o /dev/null -w '%{http_code}' ${ID}
ip route del 100.100.100.200; ip addr add 100.100.100.200/32 dev lo`
    await guarded.lockdown('on', '--observe', '--containers', 'redirect')
    expect(await inHost(undefined, 'sh', '-c', beside)).toBe('000')
    expect(await inCloud('sh', '-c', ahead)).toBe('000')
    await guarded.lockdown(...REDIRECT)
    expect(await inHost(undefined, 'sh', '-c', beside)).toBe('403')
    expect(await inCloud('sh', '-c', ahead)).toBe('000')
  })

  test('--preview says what policy would say of a container', async () => {
    const script = `import socket, time
s = socket.create_connection(('100.100.100.200', 80))
print('open', flush=True)
time.sleep(30)`
    const { pid } = await hold(allowed.prefix, script)
    const { now } = JSON.parse(await guarded.lockdown(...REDIRECT, '--preview', '--json'))
    const row = now.find((one: { pid: number }) => one.pid === pid)
    expect(row.verdict.says).toBe('metadata allowed; credentials allowed')
  })
})

describe.skipIf(!isRoot)('without a socket at the address', { timeout: LONG_MS }, () => {
  test('redirecting containers is refused, and changes nothing', async () => {
    const guarded = await startGuarded()
    try {
      await expect(guarded.lockdown(...REDIRECT)).rejects.toThrow(
        /metabind-containers\.socket does not listen on 100\.100\.100\.200:80/,
      )
      await expect(guarded.lockdown('on', '--observe', '--containers', 'redirect')).rejects.toThrow(
        /metabind-containers-observe\.socket does not listen on/,
      )
      await expect(guarded.lockdown('status')).rejects.toMatchObject({ stdout: 'off\n' })
      // The unit at boot does not ask. What is let in then finds nobody, and goes no further.
      await guarded.lockdown(...REDIRECT, '--before-agent')
      await guarded.cloud.requests()
      const asked = guarded.networks.inPod('curl', '-sS', '--max-time', '60', ...PUT, TOKEN_URL)
      await expect(asked).rejects.toThrow(CUT)
      expect(await guarded.cloud.requests()).toEqual([])
    } finally {
      await guarded.stop()
    }
  })
})
