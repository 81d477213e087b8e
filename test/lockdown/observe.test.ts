import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeCgroup } from '../harness/cgroup.ts'
import { APP, type Guarded, OTHER, SERVICE, startGuarded } from '../harness/guarded.ts'

const isRoot = process.getuid?.() === 0
const ID = `${SERVICE}/latest/meta-data/instance-id`
const PUT = ['-X', 'PUT', '-H', 'X-aliyun-ecs-metadata-token-ttl-seconds: 600']
const SIXTY_STALLED = `import socket, time
held = [socket.create_connection(('100.100.100.200', 80)) for _ in range(60)]
for s in held: s.send(b'GET /stalled HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n')
time.sleep(12)`
const SLOWLY = { timeout: 600_000 }

/** A metadata service that answers whatever it is asked with these bytes. */
const answering = (bytes: string) => `import socket
l = socket.create_server(('100.100.100.200', 80))
print('listens', flush=True)
while True:
    s, _ = l.accept(); s.recv(9999); s.send(b'${bytes}'); s.settimeout(2)
    try:
        s.recv(1)
    except OSError:
        pass
    s.close()`

describe.skipIf(!isRoot)('observing', () => {
  let guarded: Guarded

  beforeAll(async () => {
    guarded = await startGuarded({ tokens: 'optional' })
    await guarded.lockdown('on', '--observe')
  })
  afterAll(() => guarded?.stop())

  /** What `metabind observe --json` prints, and its exit code. */
  async function observed(): Promise<{ code: number; rows: Record<string, unknown>[] }> {
    try {
      return { code: 0, rows: JSON.parse(await guarded.metabind(['observe', '--json'])).observed }
    } catch (error) {
      const { code, stdout } = error as { code: number; stdout: string }
      return { code, rows: JSON.parse(stdout).observed }
    }
  }

  test('a read with a token passes, and is counted for its user', async () => {
    const token = await guarded.curl(APP, ...PUT, `${SERVICE}/latest/api/token`)
    const header = `X-aliyun-ecs-metadata-token: ${token}`
    expect(await guarded.curl(APP, '-H', header, ID)).toBe('i-bp1guarded')
    const sent = await guarded.cloud.requests()
    expect(sent.at(-1)?.rawHeaders).toContain(token)
    expect(await observed()).toMatchObject({
      code: 0,
      rows: [{ uid: APP, tokenRequests: 1, readsWithToken: 1, readsWithoutToken: 0 }],
    })
  })

  test('a read without a token passes too, and is what the list is for', async () => {
    expect(await guarded.curl(OTHER, ID)).toBe('i-bp1guarded')
    const { code, rows } = await observed()
    expect(code).toBe(3)
    expect(rows).toContainEqual(
      expect.objectContaining({
        uid: OTHER,
        readsWithoutToken: 1,
        lastPath: '/latest/meta-data/instance-id',
      }),
    )
    await guarded.instance.agent.until(({ msg }) => msg === 'direct read without a token')
  })

  test('the service gets what the caller sent, and judges it itself', async () => {
    await guarded.cloud.requests()
    const forwarded = ['-H', 'X-Forwarded-For: 192.0.2.1']
    const code = ['-o', '/dev/null', '-w', '%{http_code}']
    expect(
      await guarded.curl(APP, ...code, ...forwarded, ...PUT, `${SERVICE}/latest/api/token`),
    ).toBe('403')
    const [seen] = await guarded.cloud.requests()
    expect(seen).toMatchObject({ method: 'PUT', target: '/latest/api/token', status: 403 })
    const names = seen?.rawHeaders.filter((_, at) => at % 2 === 0)
    expect(names?.filter((name) => name !== 'Connection')).toEqual([
      'Host',
      'User-Agent',
      'Accept',
      'X-Forwarded-For',
      'X-aliyun-ecs-metadata-token-ttl-seconds',
    ])
  })

  test('the unit is that of the process, a unit that has just started too', async (context) => {
    const unit = await makeCgroup(`metabind-test-${process.pid}.service`)
    if (unit === undefined) return context.skip('no cgroup can be made here')
    try {
      const command = [...unit.prefix, 'curl', '-sS', '--max-time', '60', ID]
      expect(await guarded.networks.inHost(undefined, ...command)).toBe('i-bp1guarded')
    } finally {
      await unit.remove()
    }
    expect((await observed()).rows).toContainEqual(
      expect.objectContaining({ uid: 0, unit: `metabind-test-${process.pid}.service` }),
    )
  })

  test.each([
    ['two Hosts', 'GET / HTTP/1.1\\r\\nHost: a\\r\\nHost: b\\r\\n\\r\\n'],
    ['no HTTP', '\\x16\\x03\\x01 hello\\r\\n\\r\\n'],
    [
      'an upgrade',
      'GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: upgrade\\r\\nUpgrade: x\\r\\n\\r\\n',
    ],
    [
      'trailers announced, and no chunks',
      'GET / HTTP/1.1\\r\\nHost: a\\r\\nTrailer: b\\r\\n\\r\\n',
    ],
    ['a tunnel', 'CONNECT a:1 HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n'],
    ['bytes that are no ASCII', 'GET /\\xff HTTP/1.1\\r\\nHost: a\\r\\nX: \\xfe\\r\\n\\r\\n'],
  ])('the agent outlives %s', async (_what, bytes) => {
    const script = `import socket
s = socket.create_connection(('100.100.100.200', 80)); s.settimeout(2); s.send(b'${bytes}')
try:
    s.recv(100)
except OSError:
    pass`
    await guarded.networks.inHost(APP, '/usr/bin/python3', '-c', script)
    expect(await guarded.curl(APP, ID)).toBe('i-bp1guarded')
  })

  test('a connection that was open before goes on', async () => {
    await guarded.lockdown('off')
    const script = `import http.client, sys
c = http.client.HTTPConnection('100.100.100.200', timeout=5)
c.connect()
print('open', flush=True)
sys.stdin.readline()
c.auto_open = 0
c.request('GET', '/latest/meta-data/instance-id'); print(c.getresponse().read().decode(), flush=True)`
    const [file = '', ...args] = guarded.networks.hostPrefix
    const child = spawn(file, [...args, '/usr/bin/python3', '-c', script])
    await once(child.stdout, 'data')
    await guarded.lockdown('on', '--observe')
    child.stdin.end('go\n')
    const [said]: Buffer[] = await once(child.stdout, 'data')
    expect(String(said).trim()).toBe('i-bp1guarded')
  })

  test('whom the service keeps waiting keeps nobody else', async () => {
    await guarded.cloud.fault({ kind: 'stall', at: 'headers', path: '/stalled' })
    const waiting = guarded.networks.inHost(APP, '/usr/bin/python3', '-c', SIXTY_STALLED)
    await expect
      .poll(async () => (await guarded.cloud.recorded()).length, SLOWLY)
      .toBeGreaterThan(59)
    expect(await guarded.curl(OTHER, ID)).toBe('i-bp1guarded')
    await waiting
    await guarded.cloud.fault(undefined)
  })

  test.each(['Expect: x', 'Expect: 100-continue', 'Accept: x'])(
    'one that sends ahead more than is answered is closed: %s',
    async (header) => {
      const script = `import socket
s = socket.create_connection(('100.100.100.200', 80))
one = b'GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: x\\r\\n${header}\\r\\n\\r\\n'
said = b''
try:
    s.sendall(one * 2000); s.settimeout(20)
    while True:
        more = s.recv(65536)
        if not more: break
        said += more
except ConnectionError: pass
print(said.count(b'HTTP/1.1 ') <= 32)`
      expect(await guarded.networks.inHost(APP, '/usr/bin/python3', '-c', script)).toBe('True\n')
    },
    SLOWLY.timeout,
  )

  test('other ports are left alone', async () => {
    const state = JSON.parse(await guarded.lockdown('status', '--json'))
    expect(state).toMatchObject({ state: 'observe', refused: 0 })
    expect(state.redirected).toBeGreaterThan(0)
  })

  test('the table is for people', async () => {
    const shown = await guarded.metabind(['observe']).catch((error) => error.stdout)
    expect(shown).toMatch(/^USER +UNIT +NO TOKEN +TOKEN +LAST SEEN +LAST PATH\n/)
    expect(shown).toContain(String(OTHER))
  })
})

describe.skipIf(!isRoot)('observing a service that answers what cannot be passed on', () => {
  let guarded: Guarded
  beforeAll(async () => {
    guarded = await startGuarded({ tokens: 'optional' })
    await guarded.lockdown('on', '--observe')
    await guarded.cloud.stop()
  })
  afterAll(() => guarded?.stop())

  test.each([
    ['trailers announced, and no chunks', '200 OK\\r\\nTrailer: a\\r\\nContent-Length: 0'],
    ['no status', '099 No\\r\\nContent-Length: 0'],
    ['another protocol', '101 Other\\r\\nConnection: upgrade\\r\\nUpgrade: a'],
  ])('%s: the caller loses its connection, and the agent lives', async (_what, head) => {
    const script = answering(`HTTP/1.1 ${head}\\r\\n\\r\\n`)
    const [file = '', ...args] = [...guarded.networks.cloudPrefix, '/usr/bin/python3', '-c', script]
    const service = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      await once(service.stdout, 'data')
      const code = ['-o', '/dev/null', '-w', '%{http_code}']
      const asked = await guarded.curl(APP, ...code, ID).catch(String)
      expect(asked).toMatch(/^200$|curl: \((52|56)\)/)
    } finally {
      service.kill('SIGKILL')
      await once(service, 'exit')
    }
    expect(await guarded.metabind(['observe', '--json']).catch(({ code }) => code)).toBe(3)
    expect(guarded.instance.agent.child.exitCode).toBe(null)
  })
})
