import { once } from 'node:events'
import { createServer } from 'node:http'
import { createServer as createNetServer } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { aliyun } from '../../src/dialect/aliyun.ts'
import type { Dialect } from '../../src/dialect/dialect.ts'
import { ec2 } from '../../src/dialect/ec2.ts'
import { CONNECTIONS_MAX } from '../../src/metadata/exchange.ts'
import { directoriesOf } from '../../src/metadata/slash-redirect.ts'
import { openSource, type Source, type SourceBounds } from '../../src/metadata/source.ts'
import { ofPath } from '../../src/metadata/target.ts'
import { CLOUDS } from '../../src/simulate/clouds.ts'
import type { Fault } from '../../src/simulate/faults.ts'
import { type Simulator, startSimulator } from '../../src/simulate/simulator.ts'
import { endPeer, startPeer } from '../harness/peer.ts'

const ID = aliyun.instanceIdPath
const HOUR_MS = 3_600_000
const BOUNDS = { connectTimeoutMs: 5000, timeoutMs: 5000, answerBytesMax: 65_536 }

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

interface Upstream {
  readonly cloud: Simulator
  readonly source: Source
  /** Both ends count from it: the source's renewals and the cloud's sessions. */
  readonly clock: { ms: number }
  /** What was asked since the last look: `PUT 200`, `GET 401`. */
  asked(): string[]
}

async function upstream(
  bounds: Partial<SourceBounds> = {},
  dialect: Dialect = aliyun,
): Promise<Upstream> {
  const clock = { ms: 5 * HOUR_MS }
  const options = { role: 'demo-role', monotonicNow: () => clock.ms, cloud: CLOUDS[dialect.name] }
  const cloud = await startSimulator(options)
  const source = openSource(dialect, cloud.url, { ...BOUNDS, ...bounds }, () => clock.ms)
  closing.push(
    () => source.close(),
    () => cloud.close(),
  )
  let seen = 0
  const asked = () => {
    const since = cloud.requests.slice(seen).map(({ method, status }) => `${method} ${status}`)
    seen = cloud.requests.length
    return since
  }
  return { cloud, source, clock, asked }
}

const readId = async (source: Source) => (await source.read(ofPath(ID))).body.toString()

test('a read is a PUT for a token and a GET with it', async () => {
  const { cloud, source } = await upstream()
  const item = await source.read(ofPath(ID))
  expect(item).toEqual({ body: Buffer.from(cloud.instanceId), contentType: 'text/plain' })
  const [put, get] = cloud.requests
  expect([put?.method, put?.target, get?.method, get?.target]).toEqual([
    ...['PUT', aliyun.tokenPath],
    ...['GET', ID],
  ])
  expect(put?.rawHeaders).toEqual(expect.arrayContaining([aliyun.ttlHeader, '21600']))
  expect(get?.rawHeaders).toContain(aliyun.tokenHeader)
})

test('a query goes upstream as it is', async () => {
  const { cloud, source } = await upstream()
  await source.read({ path: '/latest/dynamic/instance-identity/pkcs7', query: 'audience=me' })
  const { target } = cloud.requests.at(-1) ?? {}
  expect(target).toBe('/latest/dynamic/instance-identity/pkcs7?audience=me')
})

describe('its token', () => {
  test('is made once for reads that need it at the same time', async () => {
    const { source, asked } = await upstream()
    await Promise.all(Array.from({ length: 20 }, () => readId(source)))
    expect(asked()).toEqual(['PUT 200', ...Array(20).fill('GET 200')])
  })

  test('is renewed when a tenth of its time is left, and not before', async () => {
    const { source, clock, asked } = await upstream()
    await readId(source)
    asked()
    clock.ms += 5.4 * HOUR_MS - 1
    await readId(source)
    expect(asked()).toEqual(['GET 200'])
    clock.ms += 1
    await readId(source)
    await readId(source)
    expect(asked()).toEqual(['PUT 200', 'GET 200', 'GET 200'])
  })

  test('is renewed once on 401', async () => {
    const { cloud, source, asked } = await upstream()
    await readId(source)
    asked()
    cloud.faults.set({ kind: 'reject-tokens', method: 'GET', times: 1 })
    expect(await readId(source)).toBe(cloud.instanceId)
    expect(asked()).toEqual(['GET 401', 'PUT 200', 'GET 200'])
  })

  test('is not renewed twice for one read', async () => {
    const { cloud, source, asked } = await upstream()
    await readId(source)
    asked()
    cloud.faults.set({ kind: 'reject-tokens', method: 'GET' })
    await expect(source.read(ofPath(ID))).rejects.toMatchObject({ code: 'SOURCE_DOWN' })
    expect(asked()).toEqual(['GET 401', 'PUT 200', 'GET 401'])
  })

  test('is renewed once for all reads that were told 401 together', async () => {
    const { cloud, source, asked } = await upstream()
    await readId(source)
    asked()
    cloud.faults.set({ kind: 'reject-tokens', method: 'GET', times: 1 })
    const reads = await Promise.all(Array.from({ length: 12 }, () => readId(source)))
    expect(reads).toEqual(Array(12).fill(cloud.instanceId))
    expect(asked().filter((line) => line.startsWith('PUT'))).toEqual(['PUT 200'])
  })

  test('is asked for again after a renewal that failed', async () => {
    const { cloud, source, asked } = await upstream()
    cloud.faults.set({ kind: 'status', code: 503, method: 'PUT', times: 1 })
    const reads = await Promise.allSettled(Array.from({ length: 5 }, () => readId(source)))
    expect(reads).toEqual(
      Array(5).fill({
        status: 'rejected',
        reason: expect.objectContaining({ code: 'SOURCE_DOWN' }),
      }),
    )
    expect(asked()).toEqual(['PUT 503'])
    expect(await readId(source)).toBe(cloud.instanceId)
  })

  test('may end in a line end', async () => {
    const { cloud, source } = await upstream()
    cloud.faults.set({ kind: 'status', code: 200, body: 'abc\n', method: 'PUT' })
    cloud.faults.set({ kind: 'status', code: 200, body: 'read', method: 'GET' })
    expect(await readId(source)).toBe('read')
    expect(cloud.requests.at(-1)?.rawHeaders).toContain('abc')
  })

  test.each([
    ['no bytes', ''],
    ['only a line end', '\n'],
    ['two words', 'abc def'],
    ['two lines', 'abc\r\nX-Forwarded-For: 1'],
    ['letters above ASCII', 'abc\u00e9'],
    ['an escape', 'abc\x1b[0m'],
    ['NUL', 'abc\0'],
    ['4097 characters', 'a'.repeat(4097)],
    ['more after 4096 characters and a line end', `${'a'.repeat(4096)}\nmore`],
  ])('of %s is refused and never sent', async (_, body) => {
    const { cloud, source, asked } = await upstream()
    cloud.faults.set({ kind: 'status', code: 200, body, method: 'PUT' })
    await expect(source.read(ofPath(ID))).rejects.toMatchObject({ code: 'SOURCE_NONSENSE' })
    expect(asked()).toEqual(['PUT 200'])
  })

  test('is in no error', async () => {
    const { cloud, source } = await upstream()
    cloud.faults.set({ kind: 'status', code: 500, method: 'GET' })
    const error: unknown = await source.read(ofPath(ID)).catch((thrown: unknown) => thrown)
    const sent = cloud.requests.at(-1)?.rawHeaders ?? []
    const token = sent[sent.indexOf(aliyun.tokenHeader) + 1] ?? ''
    expect(token).toMatch(/^[\w-]{64}$/)
    const { inspect } = await import('node:util')
    expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(token)
  })
})

describe('a lost connection', () => {
  /** A server that, once told so, resets each request on the connections that it has. */
  async function closing16() {
    const stale = new Set<unknown>()
    const open = new Set<unknown>()
    const connections: (string | undefined)[] = []
    const server = createServer((request, response) => {
      connections.push(request.headers.connection)
      if (stale.has(response.socket)) response.socket?.resetAndDestroy()
      else setTimeout(() => response.end('value'), 20)
    })
    server.on('connection', (socket) => open.add(socket))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    const source = openSource(aliyun, `http://127.0.0.1:${address.port}`, BOUNDS, () => 0)
    closing.push(
      () => source.close(),
      async () => void server.close(),
    )
    await Promise.all(Array.from({ length: CONNECTIONS_MAX }, () => readId(source)))
    const before = connections.length
    const resetAll = () => {
      for (const socket of open) stale.add(socket)
    }
    return { source, resetAll, open, asked: () => connections.slice(before) }
  }

  test.each(['GET', 'PUT'])('under a %s costs the reader nothing', async (method) => {
    for (const by of ['fin', 'rst'] as const) {
      const { cloud, source } = await upstream()
      cloud.faults.set({ kind: 'reset', by, method, times: 1 })
      expect(await readId(source)).toBe(cloud.instanceId)
    }
  })

  test('in the middle of a body costs the reader nothing', async () => {
    const { cloud, source, asked } = await upstream()
    cloud.faults.set({ kind: 'truncate', method: 'GET', times: 1 })
    expect(await readId(source)).toBe(cloud.instanceId)
    expect(asked()).toEqual(['PUT 200', 'GET 200', 'GET 200'])
  })

  test('that was kept is replaced by a new one, not by another that was kept', async () => {
    const { source, resetAll, open, asked } = await closing16()
    expect(open.size).toBe(CONNECTIONS_MAX)
    resetAll()
    expect(await readId(source)).toBe('value')
    expect(open.size).toBe(CONNECTIONS_MAX + 1)
    // The one that took its place is not kept to be the next that is stale.
    expect(asked()).toEqual(['keep-alive', 'close'])
  })

  test('is replaced once', async () => {
    const { cloud, source } = await upstream()
    await readId(source)
    const before = cloud.requests.length
    cloud.faults.set({ kind: 'reset', method: 'GET' })
    await expect(source.read(ofPath(ID))).rejects.toMatchObject({ code: 'SOURCE_DOWN' })
    expect(cloud.requests.length).toBe(before + 2)
  })

  test('is replaced within the time of the read', async () => {
    const { cloud, source } = await upstream({ timeoutMs: 300 })
    await readId(source)
    const before = cloud.requests.length
    cloud.faults.set({ kind: 'reset', method: 'GET', times: 1 })
    cloud.faults.set({ kind: 'stall', method: 'GET', times: 1 })
    const error: unknown = await source.read(ofPath(ID)).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'SOURCE_DOWN', cause: { name: 'TimeoutError' } })
    expect(cloud.requests.length).toBe(before + 2)
  })

  test('is not replaced where the answer was no HTTP or too large', async () => {
    for (const fault of [{ kind: 'garbage' }, { kind: 'oversize', bytes: 65_537 }] as const) {
      const { cloud, source, asked } = await upstream()
      cloud.faults.set({ ...fault, method: 'GET' })
      await expect(source.read(ofPath(ID))).rejects.toMatchObject({ code: 'SOURCE_NONSENSE' })
      expect(asked().length).toBe(2)
    }
  })
})

describe('an EC2 directory that answers with a redirect to its slash', () => {
  const MACS = '/latest/meta-data/network/interfaces/macs'
  const seen = ({ cloud }: Upstream) =>
    cloud.requests.filter(({ method }) => method === 'GET').map(({ target }) => target)

  test('is read, and from then on asked for with the slash', async () => {
    const world = await upstream({}, ec2)
    const { source } = world
    const listing = (await source.read(ofPath(MACS))).body.toString()
    expect(listing).toMatch(/^([0-9a-f]{2}:){5}[0-9a-f]{2}\/$/)
    await source.read(ofPath(MACS))
    expect(seen(world)).toEqual([MACS, `${MACS}/`, `${MACS}/`])
  })

  test('is asked for with the slash at once where it lists roles', async () => {
    const world = await upstream({}, ec2)
    const path = '/2021-03-23/meta-data/iam/security-credentials'
    expect((await world.source.read(ofPath(path))).body.toString()).toBe('demo-role')
    expect(seen(world)).toEqual([`${path}/`])
  })

  test.each([
    ['the endpoint itself', ({ url }: Simulator) => `${url}${MACS}/`],
    ['no host', () => `${MACS}/`],
    ['a port that goes without saying', () => `http://169.254.169.254:80${MACS}/`],
  ])('may name %s', async (_, locationOf) => {
    const { cloud, source } = await upstream({}, ec2)
    const headers = { Location: locationOf(cloud) }
    cloud.faults.set({ kind: 'status', code: 301, headers, method: 'GET', times: 1 })
    expect((await source.read(ofPath(MACS))).body.toString()).toMatch(/\/$/)
  })

  test.each([
    ['another host', 301, `http://192.0.2.1${MACS}/`],
    ['another scheme', 301, `https://169.254.169.254${MACS}/`],
    ['another path', 301, '/latest/meta-data/iam/security-credentials/'],
    ['the same path', 301, MACS],
    ['two slashes', 301, `${MACS}//`],
    ['a query', 301, `${MACS}/?x`],
    ['no URL', 301, 'http://['],
    ['the slash, for now', 302, `${MACS}/`],
    ['the slash, with the method', 308, `${MACS}/`],
  ])('to %s is not followed', async (_, code, to) => {
    const world = await upstream({}, ec2)
    world.cloud.faults.set({ kind: 'status', code, headers: { Location: to }, method: 'GET' })
    await expect(world.source.read(ofPath(MACS))).rejects.toMatchObject({ code: 'SOURCE_NONSENSE' })
    expect(seen(world)).toEqual([MACS])
  })

  test('is remembered with a thousand others, not without end', () => {
    const known = directoriesOf(ec2)
    for (let at = 0; at <= 1024; at += 1) known.add(`/latest/${at}`)
    expect(['/latest/0', '/latest/1', '/latest/1024'].map(known.has)).toEqual([false, true, true])
    expect(known.has('/latest/meta-data/iam/security-credentials')).toBe(true)
  })

  test('is followed once', async () => {
    const world = await upstream({}, ec2)
    const headers = { Location: `${MACS}/` }
    world.cloud.faults.set({ kind: 'status', code: 301, headers, method: 'GET' })
    await expect(world.source.read(ofPath(MACS))).rejects.toMatchObject({ code: 'SOURCE_NONSENSE' })
    expect(seen(world)).toEqual([MACS, `${MACS}/`])
  })
})

describe('redirects are not followed', () => {
  const codes = [301, 302, 303, 307, 308]
  test.each(codes.flatMap((code) => [['GET', code] as const, ['PUT', code] as const]))(
    '%s %i',
    async (method, code) => {
      const { cloud, source } = await upstream()
      const elsewhere = await startSimulator({ tokens: 'optional' })
      closing.push(() => elsewhere.close())
      const headers = { Location: `${elsewhere.url}${ID}` }
      cloud.faults.set({ kind: 'status', code, headers, body: 'x', method })
      await expect(source.read(ofPath(ID))).rejects.toMatchObject({
        code: method === 'GET' ? 'SOURCE_NONSENSE' : 'SOURCE_DOWN',
      })
      expect(elsewhere.requests).toEqual([])
    },
  )
})

describe('an answer', () => {
  test.each<readonly [string, Fault, string]>([
    ['of another success', { kind: 'status', code: 204 }, 'SOURCE_NONSENSE'],
    ['of 404', { kind: 'status', code: 404 }, 'METADATA_ABSENT'],
    ['of 500', { kind: 'status', code: 500 }, 'SOURCE_DOWN'],
    ['that breaks off', { kind: 'truncate' }, 'SOURCE_NONSENSE'],
    ['over the bound', { kind: 'oversize', bytes: 65_537 }, 'SOURCE_NONSENSE'],
    [
      'over the bound, as it says',
      { kind: 'oversize', bytes: 65_537, framing: 'length' },
      'SOURCE_NONSENSE',
    ],
    ['that is not HTTP', { kind: 'garbage' }, 'SOURCE_NONSENSE'],
    ['that does not come', { kind: 'reset' }, 'SOURCE_DOWN'],
    ['that stalls', { kind: 'stall', at: 'body' }, 'SOURCE_DOWN'],
    [
      'of endless headers',
      { kind: 'status', code: 200, headers: { 'X-Long': 'x'.repeat(100_000) } },
      'SOURCE_NONSENSE',
    ],
  ])('%s is refused', async (_, fault, code) => {
    const { cloud, source } = await upstream()
    cloud.faults.set({ ...fault, method: 'GET' })
    await expect(source.read(ofPath(ID))).rejects.toMatchObject({ name: 'MetabindError', code })
  })

  test.each([
    { 'Content-Encoding': 'gzip' },
    { 'Content-Encoding': 'identity, gzip' },
    { 'content-encoding': 'BR' },
  ])(
    'with %j is refused: its header would be lost, and bytes are asked for plain',
    async (headers) => {
      const { cloud, source } = await upstream()
      cloud.faults.set({ kind: 'status', code: 200, body: 'x', headers, method: 'GET' })
      await expect(source.read(ofPath(ID))).rejects.toMatchObject({ code: 'SOURCE_NONSENSE' })
      for (const { rawHeaders } of cloud.requests) {
        expect(rawHeaders.join(' ')).toContain('accept-encoding identity')
      }
    },
  )

  /** A source that says the same to whatever is asked, byte by byte. */
  async function saying(answer: string): Promise<Source> {
    const server = createNetServer((socket) => {
      socket.on('data', () => socket.write(answer))
      socket.on('error', () => undefined)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('no port')
    const source = openSource(aliyun, `http://127.0.0.1:${address.port}`, BOUNDS, () => 0)
    closing.push(
      () => source.close(),
      async () => void server.close(),
    )
    return source
  }

  test('in a coding of its transfer is refused', async () => {
    const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'
    const source = await saying(`${head}1\r\nx\r\n0\r\n\r\n`)
    await expect(source.read(ofPath(ID))).rejects.toMatchObject({ code: 'SOURCE_NONSENSE' })
  })

  test.each([
    ['none', ''],
    ['two', 'Content-Type: text/html\r\nContent-Type: text/html\r\n'],
  ])('of %s content types is passed on as text/plain', async (_what, types) => {
    const source = await saying(`HTTP/1.1 200 OK\r\n${types}Content-Length: 1\r\n\r\nx`)
    expect(await source.read(ofPath(ID))).toEqual({
      body: Buffer.from('x'),
      contentType: 'text/plain',
    })
  })

  test('with a token of 4096 bytes is taken, and none with more', async () => {
    const withToken = (bytes: string) =>
      saying(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes.length}\r\n\r\n${bytes}`)
    const most = 'x'.repeat(4096)
    expect(await readId(await withToken(most))).toBe(most)
    for (const more of [`${most}x`, `${most}\n`]) {
      const source = await withToken(more)
      await expect(source.read(ofPath(ID))).rejects.toMatchObject({ code: 'SOURCE_NONSENSE' })
    }
  })

  test.each([
    [400, { code: 'SOURCE_DOWN', status: 400 }],
    [399, { code: 'SOURCE_NONSENSE' }],
    [201, { code: 'SOURCE_NONSENSE' }],
  ])('of status %i is refused', async (code, refusal) => {
    const { cloud, source } = await upstream()
    cloud.faults.set({ kind: 'status', code, body: 'x', method: 'GET' })
    await expect(source.read(ofPath(ID))).rejects.toMatchObject(refusal)
  })

  test('of 404 in a coding is one of 404', async () => {
    const { cloud, source } = await upstream()
    const headers = { 'Content-Encoding': 'gzip' }
    cloud.faults.set({ kind: 'status', code: 404, headers, method: 'GET' })
    await expect(source.read(ofPath(ID))).rejects.toMatchObject({ code: 'METADATA_ABSENT' })
  })

  test('that says it is as it is, is taken', async () => {
    const { cloud, source } = await upstream()
    const headers = { 'Content-Encoding': 'Identity' }
    cloud.faults.set({ kind: 'status', code: 200, body: 'x', headers, method: 'GET' })
    expect(await readId(source)).toBe('x')
  })

  test('at the bound is taken', async () => {
    const { cloud, source } = await upstream()
    cloud.faults.set({ kind: 'oversize', bytes: 65_536, method: 'GET' })
    expect((await source.read(ofPath(ID))).body.length).toBe(65_536)
  })

  test.each([
    ['x/y; z="1"', 'x/y; z="1"'],
    ['x'.repeat(201), 'text/plain'],
    ['text/\u00e9', 'text/plain'],
  ])('of content type %s is passed on as %s', async (sent, passedOn) => {
    const { cloud, source } = await upstream()
    const headers = { 'Content-Type': sent }
    cloud.faults.set({ kind: 'status', code: 200, body: 'x', headers, method: 'GET' })
    expect((await source.read(ofPath(ID))).contentType).toBe(passedOn)
  })
})

describe('the time for a read', () => {
  test('ends it, whatever it waits for', async () => {
    for (const method of ['PUT', 'GET']) {
      const { cloud, source } = await upstream({ timeoutMs: 200 })
      cloud.faults.set({ kind: 'stall', method })
      // The stall has no end of its own.
      await expect(source.read(ofPath(ID))).rejects.toMatchObject({ code: 'SOURCE_DOWN' })
    }
  })

  test('covers the renewal of its token', async () => {
    const { cloud, source } = await upstream({ timeoutMs: 2400 })
    await readId(source)
    cloud.faults.set({ kind: 'reject-tokens', method: 'GET', times: 1 })
    cloud.faults.set({ kind: 'latency', ms: 1400, method: 'GET', times: 1 })
    cloud.faults.set({ kind: 'latency', ms: 1400, method: 'PUT', times: 1 })
    // Each answer comes within the time, both together do not.
    await expect(source.read(ofPath(ID))).rejects.toMatchObject({ code: 'SOURCE_DOWN' })
    // The renewal went on without the read that began it.
    expect(await readId(source)).toBe(cloud.instanceId)
    expect(cloud.requests.filter(({ method }) => method === 'PUT')).toHaveLength(2)
  })
})

test('a source where nobody listens is down', async () => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  server.close()
  const source = openSource(aliyun, `http://127.0.0.1:${address.port}`, BOUNDS, () => 0)
  await expect(source.read(ofPath(ID))).rejects.toMatchObject({ code: 'SOURCE_DOWN' })
  await source.close()
})

test('nothing is left of a source that was closed', async () => {
  const server = createServer((_request, response) => void response.end('x'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  closing.push(async () => void server.close().closeAllConnections())
  const connected = once(server, 'connection')
  const source = openSource(aliyun, `http://127.0.0.1:${address.port}`, BOUNDS, () => 0)
  await source.read(ofPath(ID))
  const [socket] = await connected
  expect(socket.destroyed).toBe(false)
  // Kept for the next read until now.
  const ended = once(socket, 'close')
  await source.close()
  await ended
  await expect(source.read(ofPath(ID))).rejects.toMatchObject({ code: 'SOURCE_DOWN' })
})

test('a source that takes no connection is down after the time for connecting', async () => {
  // Its queue is full, so that the kernel drops whatever asks for a connection.
  const script = `import socket,sys
s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(0)
held = [socket.socket() for _ in range(8)]
for one in held:
  one.setblocking(False); one.connect_ex(s.getsockname())
print(s.getsockname()[1], flush=True); sys.stdin.read()`
  const python = startPeer(script, [])
  closing.push(() => endPeer(python))
  const [port] = await once(python.stdout ?? python, 'data')
  const bounds = { ...BOUNDS, connectTimeoutMs: 50 }
  const source = openSource(aliyun, `http://127.0.0.1:${Number(port)}`, bounds, () => 0)
  closing.push(() => source.close())
  await expect(source.read(ofPath(ID))).rejects.toMatchObject({
    code: 'SOURCE_DOWN',
    cause: { code: 'UND_ERR_CONNECT_TIMEOUT' },
  })
})
