import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { makeCgroup } from '../harness/cgroup.ts'
import { AGENT, APP, type Guarded, OTHER, SERVICE, startGuarded } from '../harness/guarded.ts'
import { asUser } from '../harness/networks.ts'

const isRoot = process.getuid?.() === 0
const ID = `${SERVICE}/latest/meta-data/instance-id`
const PUT = ['-X', 'PUT', '-H', 'X-aliyun-ecs-metadata-token-ttl-seconds: 600']
const TOKEN_URL = `${SERVICE}/latest/api/token`

let guarded: Guarded

/** Python that writes a line in one piece, whatever its environment says of buffering. */
const SAY = `import sys
def say(line):
    sys.stdout.write(line + '\\n'); sys.stdout.flush()`

/** curl's words for a refused or reset connection. */
const CUT = /Connection refused|Connection reset|Could ?n[o']t connect|Failed to connect/

// A command takes seconds if the machine is busy, and some tests have several.
const LONG_MS = 600_000

describe.skipIf(!isRoot)('lockdown', { timeout: LONG_MS }, () => {
  beforeAll(async () => {
    guarded = await startGuarded()
  })
  afterAll(() => guarded?.stop())
  afterEach(async () => {
    await guarded.lockdown('off')
  })

  const status = (uid: number | undefined, ...args: string[]) =>
    guarded.curl(uid, '-o', '/dev/null', '-w', '%{http_code}', ...args)
  const tokenOf = (uid: number) => guarded.curl(uid, ...PUT, TOKEN_URL)
  const carrying = (token: string) => ['-H', `X-aliyun-ecs-metadata-token: ${token}`]
  const record = (fits: Record<string, unknown>) =>
    guarded.instance.agent.until((seen) =>
      Object.entries(fits).every(([key, value]) => seen[key] === value),
    )

  test('without it, callers speak to the service itself', async () => {
    await guarded.cloud.requests()
    const token = await tokenOf(APP)
    expect(await guarded.curl(APP, ...carrying(token), ID)).toBe('i-bp1guarded')
    expect((await guarded.cloud.requests()).map(({ method }) => method)).toEqual(['PUT', 'GET'])
  })

  test('callers are answered by the agent, by uid, and their tokens are its own', async () => {
    await guarded.lockdown('on')
    await guarded.cloud.requests()
    const token = await tokenOf(APP)
    expect(token).toMatch(/^[A-Za-z0-9_-]{86}$/)
    expect(await guarded.curl(APP, ...carrying(token), ID)).toBe('i-bp1guarded')
    const issued = await record({ event: 'token.issued' })
    expect(issued.caller).toMatchObject({ uid: APP })
    const whoami = await guarded.curl(APP, ...carrying(token), `${SERVICE}/metabind/v1/whoami`)
    expect(JSON.parse(whoami)).toMatchObject({ uid: APP, pid: 0 })
    // None of the caller's own requests arrived there.
    const tokens = (await guarded.cloud.requests()).flatMap(({ rawHeaders }) => rawHeaders)
    expect(tokens).not.toContain(token)
  })

  test('a caller is known by its unit too, and not by a group or a process', async (context) => {
    const unit = await makeCgroup(`metabind-lockdown-${process.pid}.service`)
    if (unit === undefined) return context.skip('no cgroup can be made here')
    try {
      await guarded.lockdown('on')
      const within = (...args: string[]) =>
        guarded.networks.inHost(
          undefined,
          ...unit.prefix,
          'curl',
          '-sS',
          '--max-time',
          '5',
          ...args,
        )
      const token = await within(...PUT, TOKEN_URL)
      const said = JSON.parse(await within(...carrying(token), `${SERVICE}/metabind/v1/whoami`))
      expect(said).toEqual({
        pid: 0,
        uid: 0,
        gid: 0xffff_ffff,
        groups: [],
        namespaces: [],
        unit: `metabind-lockdown-${process.pid}.service`,
      })
    } finally {
      await unit.remove()
    }
  })

  test('the rules of the socket hold: no token, a forwarded request, another user', async () => {
    await guarded.lockdown('on')
    expect(await status(APP, ID)).toBe('403')
    expect(await status(APP, ...PUT, '-H', 'X-Forwarded-For;', TOKEN_URL)).toBe('403')
    expect(await status(OTHER, ...carrying(await tokenOf(APP)), ID)).toBe('401')
  })

  test('root is redirected like everybody', async () => {
    await guarded.lockdown('on')
    expect(await guarded.curl(undefined, ...PUT, TOKEN_URL)).toMatch(/^[A-Za-z0-9_-]{86}$/)
  })

  test('an IPv6 socket is no way around it', async () => {
    await guarded.lockdown('on')
    const script = `import socket
s = socket.socket(socket.AF_INET6)
s.connect(('::ffff:100.100.100.200', 80))
s.send(b'GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')
print(s.recv(4096).decode())`
    const answer = await guarded.networks.inHost(APP, '/usr/bin/python3', '-c', script)
    expect(answer).toContain('TOKEN_MISSING')
  })

  test('other ports are refused at once', async () => {
    await guarded.lockdown('on')
    // Refused, not dropped: curl says which.
    await expect(guarded.curl(APP, `${SERVICE}:8080/`)).rejects.toThrow(CUT)
    expect(JSON.parse(await guarded.lockdown('status', '--json')).refused).toBeGreaterThan(0)
  })

  test('a connection that was open before is cut', async () => {
    const script = `import socket,sys
s = socket.create_connection(('100.100.100.200', 80))
print('open', flush=True)
sys.stdin.readline()
s.send(b'GET / HTTP/1.0\\r\\n\\r\\n')
try:
    print(s.recv(4096).decode())
except OSError as e:
    print(type(e).__name__)`
    const [file = '', ...args] = guarded.networks.hostPrefix
    const child = spawn(file, [...args, '/usr/bin/python3', '-c', script])
    await once(child.stdout, 'data')
    await guarded.lockdown('on')
    child.stdin.end('go\n')
    const [said]: Buffer[] = await once(child.stdout, 'data')
    expect(String(said)).toContain('ConnectionResetError')
  })

  test('a redirected connection is cut by off, and outlives a second on and a rollback', async () => {
    const script = `${SAY}
import http.client
c = http.client.HTTPConnection('100.100.100.200', timeout=5)
def ask():
    try:
        c.request('GET', '/latest/'); r = c.getresponse(); say(f'{r.status} {r.read()[:13]}')
    except OSError as e:
        say(type(e).__name__)
ask()
for line in sys.stdin: ask()`
    const [file = '', ...args] = [...guarded.networks.hostPrefix, ...asUser(APP)]
    const open = () => spawn(file, [...args, '/usr/bin/python3', '-c', script])
    const said = async (child: ReturnType<typeof open>) =>
      String((await once(child.stdout, 'data'))[0]).trim()
    const again = (child: ReturnType<typeof open>) => {
      child.stdin.write('again\n')
      return said(child)
    }
    await guarded.lockdown('on')
    const first = open()
    expect(await said(first)).toContain('TOKEN_MISSING')
    await guarded.lockdown('on', '--for', '15s')
    const second = open()
    expect(await said(second)).toContain('TOKEN_MISSING')
    expect(await again(first)).toContain('TOKEN_MISSING')
    await sleep(15_500)
    expect(await again(second)).toContain('TOKEN_MISSING')
    await guarded.lockdown('on')
    await guarded.lockdown('off')
    expect(await again(second)).toBe('ConnectionResetError')
    first.kill('SIGKILL')
    second.kill('SIGKILL')
  })

  test('the listener refuses connections that nobody redirected', async () => {
    const direct = 'http://127.0.0.1:9180/latest/api/token'
    expect(await guarded.curl(APP, ...PUT, direct)).toMatch(/^CALLER_UNKNOWN: /)
    const record = await guarded.instance.agent.until(({ code }) => code === 'CALLER_UNKNOWN')
    expect(record.detail).toBe('no rule of the firewall brought it here')
    await guarded.lockdown('on')
    expect(await guarded.curl(undefined, ...PUT, direct)).toMatch(/^CALLER_UNKNOWN: /)
    await expect(guarded.curl(APP, ...PUT, direct)).rejects.toThrow(CUT)
    await expect(guarded.curl(APP, 'http://127.0.0.1:9181/latest/')).rejects.toThrow()
  })

  /** Python that connects from a chosen port of the host's address, and then does `then`. */
  const fromPort = (port: number, to: string, then: string) => `import socket,sys
s = socket.socket()
s.settimeout(5)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('10.77.0.2', ${port}))
s.connect(${to})
${then}`
  const ASK = `s.send(b'PUT /latest/api/token HTTP/1.1\\r\\nHost: x\\r\\n' +
  b'X-aliyun-ecs-metadata-token-ttl-seconds: 60\\r\\nConnection: close\\r\\n\\r\\n')
print(s.recv(4096).decode())`
  const SERVICE_ADDRESS = "('100.100.100.200', 80)"
  const LISTENER_ADDRESS = "('127.0.0.1', 9180)"

  /** A process of root that holds a connection to the service from `port`. */
  async function holdAsRoot(port: number, to: string) {
    const script = fromPort(port, to, "print('open', flush=True)\nsys.stdin.read()")
    const [file = '', ...args] = guarded.networks.hostPrefix
    const child = spawn(file, [...args, '/usr/bin/python3', '-c', script])
    await once(child.stdout, 'data')
    return child
  }

  test('whoever comes from the port of another is not taken for that user', async () => {
    await guarded.lockdown('on')
    const root = await holdAsRoot(41_000, SERVICE_ADDRESS)
    const script = fromPort(41_000, LISTENER_ADDRESS, ASK)
    // Also as the listener would see it without the firewall's part.
    await guarded.networks.inHost(undefined, 'nft', 'flush chain ip metabind_lockdown listener')
    const answer = await guarded.networks.inHost(APP, '/usr/bin/python3', '-c', script)
    root.kill('SIGKILL')
    expect(answer).toContain('CALLER_UNKNOWN')
  })

  test('a port that the kernel had to change names nobody, and no user can cause it', async () => {
    await guarded.lockdown('on')
    const ask = ['/usr/bin/python3', '-c', fromPort(42_000, SERVICE_ADDRESS, ASK)]
    const blocker = await holdAsRoot(42_000, LISTENER_ADDRESS)
    expect(await guarded.networks.inHost(APP, ...ask)).toContain('CALLER_UNKNOWN')
    blocker.kill('SIGKILL')
    const block = fromPort(43_000, LISTENER_ADDRESS, "print('open')")
    await expect(guarded.networks.inHost(APP, '/usr/bin/python3', '-c', block)).rejects.toThrow(
      /ConnectionRefused|ConnectionReset/,
    )
  })

  test('what the kernel itself sends there is refused, for it has no owner', async () => {
    const service = `${SAY}
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('100.100.100.200', 4789)); s.settimeout(3); say('listens')
try:
    s.recv(2000); say('reached')
except OSError:
    say('not reached')`
    const tunnel =
      'ip link add vx type vxlan id 1 remote 100.100.100.200 dstport 4789; ip link set vx up; sleep 1; ip link del vx'
    const reached = async () => {
      const [file = '', ...args] = guarded.networks.cloudPrefix
      const child = spawn(file, [...args, '/usr/bin/python3', '-c', service])
      await once(child.stdout, 'data')
      const said = once(child.stdout, 'data')
      await guarded.networks.inHost(undefined, 'sh', '-ec', tunnel)
      return String((await said)[0]).trim()
    }
    expect(await reached()).toBe('reached')
    await guarded.lockdown('on')
    expect(await reached()).toBe('not reached')
  })

  test('whoever takes the port of a stopped agent is nobody to anybody', async () => {
    await guarded.lockdown('on')
    await guarded.instance.agent.stop()
    const script = `import http.server
print('listens', flush=True)
http.server.HTTPServer(('127.0.0.1', 9180), http.server.SimpleHTTPRequestHandler).serve_forever()`
    const [file = '', ...args] = [...guarded.networks.hostPrefix, ...asUser(OTHER)]
    const impostor = spawn(file, [...args, '/usr/bin/python3', '-c', script])
    await once(impostor.stdout, 'data')
    const asked = ['--connect-timeout', '2', '-o', '/dev/null', '-w', '%{http_code}', ID]
    await expect(guarded.curl(undefined, ...asked)).rejects.toMatchObject({ stdout: '000' })
    await guarded.lockdown('off')
    // Without rules for it, turning on is refused as well: it is not the agent that listens.
    await expect(guarded.lockdown('on')).rejects.toThrow(/is held by user 61003/)
    impostor.kill('SIGKILL')
    await guarded.instance.restartAgent()
  })

  test('with the agent gone nobody is let through; a new agent takes over, tokens too', async () => {
    await guarded.lockdown('on')
    const token = await tokenOf(APP)
    await guarded.instance.agent.stop('SIGKILL')
    await guarded.cloud.requests()
    await expect(guarded.curl(APP, ...carrying(token), ID)).rejects.toThrow(CUT)
    expect(await guarded.cloud.requests()).toEqual([])
    await guarded.instance.restartAgent()
    expect(await guarded.curl(APP, ...carrying(token), ID)).toBe('i-bp1guarded')
  })

  test('containers are refused at once, or left alone where that is asked for', async () => {
    const fromPod = () =>
      guarded.networks.inPod('curl', '-sS', '--max-time', '60', ...PUT, TOKEN_URL)
    await guarded.lockdown('on')
    await expect(fromPod()).rejects.toThrow(CUT)
    await guarded.lockdown('on', '--containers', 'leave')
    expect(await fromPod()).not.toBe('')
  })

  test('--for rolls back by itself, with every process of metabind dead', async () => {
    expect(await guarded.lockdown('on', '--for', '15s')).toContain('rolls back in 15 s')
    await guarded.instance.agent.stop('SIGKILL')
    await expect(guarded.curl(APP, ...PUT, TOKEN_URL)).rejects.toThrow(CUT)
    const seen = () => status(APP, ...PUT, TOKEN_URL).catch(() => 'nobody answers')
    await expect.poll(seen).toBe('200')
    await expect(guarded.lockdown('status')).rejects.toMatchObject({
      code: 1,
      stdout: expect.stringContaining('rolled back'),
    })
    await expect(guarded.lockdown('confirm')).rejects.toMatchObject({ code: 1 })
    await guarded.instance.restartAgent()
  })

  test('confirm keeps it', async () => {
    await guarded.lockdown('on', '--for', '1h')
    await guarded.lockdown('confirm')
    // Nothing of ours ends by itself any more.
    const rules = await guarded.networks.inHost(undefined, 'nft', 'list', 'ruleset')
    expect(rules).toContain('metabind')
    expect(rules).not.toMatch(/expires|timeout \d/)
    expect(JSON.parse(await guarded.lockdown('status', '--json'))).toMatchObject({
      state: 'enforce',
      address: '100.100.100.200',
    })
    expect(await status(APP, ID)).toBe('403')
    expect(await tokenOf(APP)).toMatch(/^[A-Za-z0-9_-]{86}$/)
  })

  test('off leaves no rule of ours and every other one', async () => {
    await guarded.networks.inHost(undefined, 'nft', 'add table ip someone_else')
    await guarded.lockdown('on')
    await guarded.lockdown('on')
    await guarded.lockdown('off')
    await guarded.lockdown('off')
    const tables = await guarded.networks.inHost(undefined, 'nft', 'list', 'tables')
    expect(tables).toBe('table ip someone_else\n')
    await expect(guarded.lockdown('status')).rejects.toMatchObject({ code: 1, stdout: 'off\n' })
  })

  test('--preview names a process that talks to the service, and changes nothing', async () => {
    const script = `import socket,time
s = socket.create_connection(('100.100.100.200', 80)); time.sleep(30)`
    const [file = '', ...args] = guarded.networks.hostPrefix
    const child = spawn(file, [...args, '/usr/bin/python3', '-c', script])
    const said = JSON.parse(await guarded.lockdown('on', '--preview', '--json'))
    child.kill('SIGKILL')
    expect(said.now).toContainEqual(
      expect.objectContaining({ pid: child.pid, uid: 0, user: 'root' }),
    )
    await expect(guarded.lockdown('status')).rejects.toMatchObject({ stdout: 'off\n' })
  })

  test.each([
    ['a user that is root', ['--user', '0'], /LOCKDOWN_UNPREPARED/],
    ['a user that is not there', ['--user', 'no-such-user'], /LOCKDOWN_UNPREPARED/],
    ['an unknown duration', ['--for', '10w'], /takes a duration/],
  ])('%s is refused', async (_what, args, message) => {
    await expect(guarded.lockdown('on', ...args)).rejects.toThrow(message)
    await expect(guarded.lockdown('status')).rejects.toMatchObject({ stdout: 'off\n' })
  })

  test('an agent that does not listen is refused, unless it is to start later', async () => {
    await guarded.instance.agent.stop()
    await expect(guarded.lockdown('on')).rejects.toThrow(/Nobody listens on 127.0.0.1:9180/)
    await guarded.lockdown('on', '--before-agent')
    await guarded.instance.restartAgent()
    expect(await tokenOf(APP)).toMatch(/^[A-Za-z0-9_-]{86}$/)
  })

  test('somebody who is not root is told so', async () => {
    await expect(guarded.metabind(['lockdown', 'off'], APP)).rejects.toThrow(/FIREWALL_FAILED/)
  })

  test('the agent itself passes', async () => {
    await guarded.lockdown('on')
    expect(await status(AGENT, ...PUT, TOKEN_URL)).toBe('200')
    expect((await guarded.cloud.requests()).length).toBeGreaterThan(0)
  })
})
