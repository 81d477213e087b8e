import { mkdtemp, rm } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { LogRecord } from '../harness/agent.ts'
import {
  call,
  connectionsOpen,
  INSTANCE_ID_PATH,
  makeToken,
  putToken,
  read,
  refusal,
  TOKEN_HEADER,
  TOKEN_PATH,
  TTL_HEADER,
} from '../harness/http.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { openRaw, type RawConnection, sendRaw } from '../harness/raw-http.ts'

/** The server around the requests. */

const WHOAMI = '/metabind/v1/whoami'
const CONNECTIONS_MAX = 1040
/** Of which an ordinary user has none. */
const KEPT_FOR_ROOT = 64
const isRoot = process.getuid?.() === 0
const REQUEST_MS = 1000
const IDLE_MS = 2000

let directory: string
let instance: Instance
let socket: string
let token: string
beforeAll(async () => {
  directory = await mkdtemp('/tmp/mb-')
  const config = `[limits]
connections = ${CONNECTIONS_MAX}
connections_per_uid = ${CONNECTIONS_MAX}
request_timeout_ms = ${REQUEST_MS}
idle_timeout_ms = ${IDLE_MS}

[log]
level = "debug"
`
  instance = await startInstance(directory, { config })
  socket = instance.metadataSocket
  token = await makeToken(socket)
})
afterAll(async () => {
  await instance?.stop()
  await rm(directory, { recursive: true, force: true })
})

function get(lines: readonly string[], path = WHOAMI, version = 'HTTP/1.1'): string {
  const tokened = `${TOKEN_HEADER}: ${token}`
  return [`GET ${path} ${version}`, tokened, ...lines, '', ''].join('\r\n')
}

const admitted = () => connectionsOpen(instance.adminSocket)

const statusAndClosed = async (bytes: string | Buffer) => {
  const { status, closed } = await sendRaw(socket, bytes)
  return [status, closed]
}

describe('Host', () => {
  // Over a Unix socket no name was resolved, so any is as good as another: curl sends the URL's.
  test.each(['localhost', '100.100.100.200', 'evil.example', 'x:80', ''])(
    '%j is fine',
    async (host) => {
      expect((await sendRaw(socket, get([`Host: ${host}`]), 0)).status).toBe(200)
    },
  )

  test('none is refused in HTTP/1.1, and may be missing in HTTP/1.0', async () => {
    expect(await statusAndClosed(get([]))).toEqual([400, true])
    expect(await statusAndClosed(get([], WHOAMI, 'HTTP/1.0'))).toEqual([200, true])
  })

  test.each([
    ['a', 'a'],
    ['a', 'evil.example'],
    ['', ''],
  ])('two are refused: %j and %j', async (one, other) => {
    const answered = await sendRaw(socket, get([`Host: ${one}`, `host: ${other}`]))
    expect([refusal(answered), answered.closed]).toEqual(['400 REQUEST_HEADERS', true])
  })
})

describe('a request of a web page is refused with 403', () => {
  const headers = ['Origin', 'origin', 'Referer', 'Sec-Fetch-Site', 'Sec-Fetch-Dest', 'SEC-FETCH-X']
  test.each(headers)('%s', async (name) => {
    for (const value of ['', 'null', 'http://localhost']) {
      const sent = [TTL_HEADER, '60', TOKEN_HEADER, token, name, value]
      for (const [method, path] of [
        ['PUT', TOKEN_PATH],
        ['GET', WHOAMI],
        ['GET', '/no-such'],
        ['OPTIONS', '/'],
      ] as const) {
        const answered = await call(socket, { method, path, headers: sent })
        expect([path, refusal(answered)]).toEqual([path, '403 REQUEST_BROWSER'])
        const cors = Object.keys(answered.headers).filter((at) => at.startsWith('access-control'))
        expect(cors).toEqual([])
      }
    }
  })
})

describe('what is not a plain request is refused, and the connection ends', () => {
  test('CONNECT', async () => {
    for (const target of ['example.com:80', 'localhost:80', '/latest']) {
      const bytes = `CONNECT ${target} HTTP/1.1\r\nHost: x\r\n${TOKEN_HEADER}: ${token}\r\n\r\n`
      const answered = await sendRaw(socket, bytes)
      expect([refusal(answered), answered.closed]).toEqual(['405 REQUEST_METHOD', true])
    }
  })

  test('CONNECT of a peer that does not wait for the answer ends nobody but that peer', async () => {
    for (let count = 0; count < 50; count += 1) {
      const connection = await openRaw(socket)
      connection.write('CONNECT example.com:80 HTTP/1.1\r\nHost: x\r\n\r\n')
      connection.destroy()
    }
    await makeToken(socket)
    expect(instance.agent.child.exitCode).toBe(null)
  })

  test('CONNECT leaves no connection behind, whatever follows it and however long', async () => {
    const peers = await Promise.all(Array.from({ length: 10 }, () => openRaw(socket)))
    for (const peer of peers) {
      peer.write('CONNECT example.com:80 HTTP/1.1\r\nHost: x\r\n\r\nand more')
      expect((await peer.answer()).status).toBe(405)
      peer.write('and more')
    }
    await expect.poll(admitted).toBe(0)
    for (const peer of peers) peer.destroy()
  })

  test('TRACE is not answered with what was sent', async () => {
    const bytes = `TRACE / HTTP/1.1\r\nHost: x\r\n${TOKEN_HEADER}: ${token}\r\n\r\n`
    const answered = await sendRaw(socket, bytes, 0)
    expect([refusal(answered), answered.headers.allow]).toEqual(['405 REQUEST_METHOD', 'GET, HEAD'])
    expect(answered.body).not.toContain(token)
  })

  const put = `PUT ${TOKEN_PATH} HTTP/1.1\r\nHost: x\r\n${TTL_HEADER}: 60\r\n`
  test.each([
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a TLS handshake', Buffer.from('16030100a5010000a10303', 'hex')],
    ['no HTTP', 'hello\r\n\r\n'],
    ['HTTP/0.9', 'GET /\r\n\r\n'],
    ['HTTP/0.9 with headers', `GET ${WHOAMI}\nHost: x\r\n\r\n`],
    ['HTTP/2 in a line', 'GET / HTTP/2.0\r\nHost: x\r\n\r\n'],
    ['an unknown method', 'BREW / HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a method in lower case', 'get / HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['two lengths', `${put}Content-Length: 0\r\nContent-Length: 1\r\n\r\nx`],
    [
      'a length and chunks',
      `${put}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    ['an unknown transfer coding', `${put}Transfer-Encoding: x\r\n\r\n`],
    ['chunked twice over', `${put}Transfer-Encoding: chunked, x\r\n\r\n0\r\n\r\n`],
    ['a negative length', `${put}Content-Length: -1\r\n\r\n`],
    ['a length of hex digits', `${put}Content-Length: 0x1\r\n\r\nx`],
    ['a chunk size that is none', `${put}Transfer-Encoding: chunked\r\n\r\nzz\r\n`],
    ['a blank before a colon', `${put}X-Forwarded-For : 1\r\n\r\n`],
    ['a folded header', `${put}X: 1\r\n X-Forwarded-For: 1\r\n\r\n`],
    ['a bare line feed', `${put}X: 1\nX-Forwarded-For: 1\r\n\r\n`],
    ['a bare carriage return', `${put}X: 1\rX-Forwarded-For: 1\r\n\r\n`],
    ['NUL in a header', `${put}X: a\0b\r\n\r\n`],
    ['a header without a colon', `${put}X-Forwarded-For\r\n\r\n`],
    ['a header without a name', `${put}: 1\r\n\r\n`],
    ['a name with a blank', `${put}X Y: 1\r\n\r\n`],
  ])('%s', async (_, bytes) => {
    const from = instance.agent.records.length
    const answered = await sendRaw(socket, bytes)
    expect([refusal(answered), answered.closed]).toEqual(['400 REQUEST_MALFORMED', true])
    const issued = instance.agent.records.slice(from).filter((at) => at.event === 'token.issued')
    expect(issued).toEqual([])
  })
})

// The JDK's HttpClient and curl --http2 ask for it with each request on plain http (RFC 9110, 7.8).
describe('an offer of another protocol is not taken up, and the request is answered', () => {
  test.each(['h2c', 'websocket', 'x', ''])('Upgrade: %s', async (protocol) => {
    const upgrade = ['Host: x', 'Connection: Upgrade, HTTP2-Settings', `Upgrade: ${protocol}`]
    const offer = [...upgrade, 'HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA']
    const put = [`PUT ${TOKEN_PATH} HTTP/1.1`, ...offer, `${TTL_HEADER}: 60`, '', ''].join('\r\n')
    const sized = put.replace('\r\n\r\n', '\r\nContent-Length: 0\r\n\r\n')
    const connection = await openRaw(socket)
    for (const [bytes, status] of [
      [get(offer), 200],
      [get(offer, '/no-such'), 404],
      [put, 200],
      [sized, 200],
      [get(['Host: x']), 200],
    ] as const) {
      connection.write(bytes)
      expect((await connection.answer()).status).toBe(status)
    }
    connection.destroy()
  })

  test.each([
    ['Content-Length: 3', 'GET'],
    ['Transfer-Encoding: chunked', '3\r\nGET\r\n0\r\n\r\n'],
  ])('but for one that comes with a body: %s', async (header, body) => {
    const offer = ['Host: x', 'Connection: Upgrade', 'Upgrade: h2c', header]
    const answered = await sendRaw(socket, get(offer) + body)
    expect([refusal(answered), answered.closed]).toEqual(['400 REQUEST_HEADERS', true])
  })
})

describe('a caller that shuts down its writing side before it reads is answered', () => {
  const put = `PUT ${TOKEN_PATH} HTTP/1.1\r\nHost: x\r\n`
  test.each([
    ['a token', `${put}${TTL_HEADER}: 60\r\n\r\n`, 200],
    ['what is cached', () => get(['Host: x'], INSTANCE_ID_PATH), 200],
    ['what is not cached yet', () => get(['Host: x'], `/latest/meta-data/${Date.now()}`), 404],
    ['a request without a token', `GET ${WHOAMI} HTTP/1.1\r\nHost: x\r\n\r\n`, 403],
    ['a request with a wrong token', () => get(['Host: x']).replace(token, 'x'), 401],
    ['a wrong method', 'DELETE / HTTP/1.1\r\nHost: x\r\n\r\n', 405],
    ['a lifetime that is none', `${put}${TTL_HEADER}: x\r\n\r\n`, 400],
    ['a target that is none', 'GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n', 400],
    ['half a request', `${put}X`, 400],
    ['no HTTP', 'hello\r\n\r\n', 400],
  ])('%s', async (_, bytes, status) => {
    const connection = await openRaw(socket)
    connection.write(typeof bytes === 'string' ? bytes : bytes())
    connection.endWriting()
    expect((await connection.answer()).status).toBe(status)
    expect(await connection.closed()).toBe(true)
    connection.destroy()
  })

  test('several requests', async () => {
    const connection = await openRaw(socket)
    const miss = get(['Host: x'], `/latest/meta-data/a${Date.now()}`)
    connection.write(miss + get(['Host: x']) + get(['Host: x'], '/no-such'))
    connection.endWriting()
    const statuses = []
    for (let count = 0; count < 3; count += 1) statuses.push((await connection.answer()).status)
    expect([statuses, await connection.closed()]).toEqual([[404, 200, 404], true])
    connection.destroy()
  })

  test('on the admin socket', async () => {
    const connection = await openRaw(instance.adminSocket)
    connection.write('GET /metabind/v1/metrics HTTP/1.1\r\nHost: x\r\n\r\n')
    connection.endWriting()
    expect((await connection.answer()).status).toBe(200)
    connection.destroy()
  })

  test('one that says nothing is closed', async () => {
    const connection = await openRaw(socket)
    connection.endWriting()
    expect(await connection.closed()).toBe(true)
  })
})

describe('a request of many headers', () => {
  const many = (count: number) => Array.from({ length: count }, (_, at) => `X${at % 7}: `)

  test('has 64 at most: one of them that says who forwarded it is seen at every place', async () => {
    // Two of them are the token and the Host.
    expect((await sendRaw(socket, get(['Host: x', ...many(62)]), 0)).status).toBe(200)
    for (const count of [31, 61]) {
      const answered = await sendRaw(socket, get(['Host: x', ...many(count), 'Via: 1']), 0)
      expect(refusal(answered)).toBe('403 REQUEST_FORWARDED')
    }
  })

  test.each([63, 64, 94, 95, 96, 130, 500])(
    'is refused with %i besides, and the connection ends',
    async (count) => {
      const answered = await sendRaw(socket, get(['Host: x', ...many(count)]))
      expect([refusal(answered), answered.closed]).toEqual(['431 REQUEST_TOO_LARGE', true])
    },
  )
})

describe.concurrent('a slow caller is not waited for', () => {
  test.each([
    ['that says nothing', ''],
    ['in the middle of a request line', 'GET /lat'],
    ['in the middle of headers', `GET ${WHOAMI} HTTP/1.1\r\nHost: x\r\nX-`],
    [
      'in the middle of a body',
      `PUT ${TOKEN_PATH} HTTP/1.1\r\nHost: x\r\n${TTL_HEADER}: 60\r\nContent-Length: 9\r\n\r\nabc`,
    ],
    [
      'in the middle of a chunk',
      `PUT ${TOKEN_PATH} HTTP/1.1\r\nHost: x\r\n${TTL_HEADER}: 60\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc`,
    ],
  ])('%s', async (_, bytes) => {
    const startMs = performance.now()
    const answered = await sendRaw(socket, bytes)
    expect([refusal(answered), answered.closed]).toEqual(['408 REQUEST_TIMEOUT', true])
    expect(performance.now() - startMs).toBeGreaterThan(REQUEST_MS - 100)
  })

  test('a byte now and then is as slow as none', async () => {
    const connection = await openRaw(socket)
    const drip = setInterval(() => connection.write('a'), 100)
    connection.write(`GET ${WHOAMI} HTTP/1.1\r\nHost: x\r\nX: `)
    expect(refusal(await connection.answer())).toBe('408 REQUEST_TIMEOUT')
    clearInterval(drip)
    expect(await connection.closed()).toBe(true)
    connection.destroy()
  })

  test('a connection without a further request ends', async () => {
    const connection = await openRaw(socket)
    const startMs = performance.now()
    connection.write(get(['Host: x']))
    expect((await connection.answer()).headers['keep-alive']).toBe(`timeout=${IDLE_MS / 1000}`)
    expect(await connection.closed()).toBe(true)
    expect(performance.now() - startMs).toBeGreaterThan(1000)
    connection.destroy()
  })
})

test('a thousand idle connections hold up nobody, the limit holds, and all of it passes', async () => {
  const directory = await mkdtemp('/tmp/mb-')
  // Deadlines that none of the connections reaches.
  const config = `[limits]
connections = ${isRoot ? CONNECTIONS_MAX : CONNECTIONS_MAX + KEPT_FOR_ROOT}
connections_per_uid = ${CONNECTIONS_MAX}
request_timeout_ms = 60000
idle_timeout_ms = 60000
`
  const crowded = await startInstance(directory, { config })
  const socket = crowded.metadataSocket
  const token = await makeToken(socket)
  const idle = await Promise.all(Array.from({ length: 1000 }, () => openRaw(socket)))
  expect((await read(socket, INSTANCE_ID_PATH, token)).status).toBe(200)
  await makeToken(socket)
  // More than the rest of the limit: those above it are ended unheard, at once.
  const more = await Promise.all(Array.from({ length: 100 }, () => openRaw(socket)))
  const all = [...idle, ...more]
  await expect.poll(() => countClosed(all, 0)).toBeGreaterThanOrEqual(1100 - CONNECTIONS_MAX)
  expect(await countClosed(all, 0)).toBeLessThan(1100 - CONNECTIONS_MAX + 10)
  expect((await read(socket, WHOAMI, token)).status).toBe(503)
  for (const connection of all) connection.destroy()
  const status = () => read(socket, WHOAMI, token).then((answered) => answered.status)
  await expect.poll(() => status().catch(String)).toBe(200)
  await crowded.stop()
  await rm(directory, { recursive: true, force: true })
})

async function countClosed(connections: readonly RawConnection[], waitMs: number): Promise<number> {
  const closed = await Promise.all(connections.map((connection) => connection.closed(waitMs)))
  return closed.filter(Boolean).length
}

describe('pipelined requests', () => {
  test('are answered in order', async () => {
    const connection = await openRaw(socket)
    const put = `PUT ${TOKEN_PATH} HTTP/1.1\r\nHost: x\r\n${TTL_HEADER}: 60\r\n\r\n`
    const bytes = [get(['Host: x'], INSTANCE_ID_PATH), put, get(['Host: x'], '/no-such'), put]
    connection.write(bytes.join(''))
    const statuses = []
    for (const _ of bytes) statuses.push((await connection.answer()).status)
    expect(statuses).toEqual([200, 200, 404, 200])
    connection.destroy()
  })

  test('are answered up to 16 at once', async () => {
    const connection = await openRaw(socket)
    for (let round = 0; round < 2; round += 1) {
      connection.write(get(['Host: x']).repeat(16))
      for (let count = 0; count < 16; count += 1) {
        expect((await connection.answer()).status).toBe(200)
      }
    }
    connection.destroy()
  })

  const noHost = `GET ${WHOAMI} HTTP/1.1\r\n\r\n`
  // node:http or fastify's router would answer these before any hook.
  const kinds = [
    ['plain ones', () => get(['Host: x'])],
    ['those that expect what nobody knows', () => get(['Host: x', 'Expect: x'])],
    ['those that wait for a 100', () => get(['Host: x', 'Expect: 100-continue'])],
    ['those without a Host', () => noHost],
    ['those whose target is none', () => 'GET /% HTTP/1.1\r\nHost: x\r\n\r\n'],
    [
      'those that offer another protocol',
      () => get(['Host: x', 'Connection: upgrade', 'Upgrade: x']),
    ],
  ] as const
  const sockets = ['metadata', 'admin'] as const
  test.each(sockets.flatMap((name) => kinds.map(([kind, bytes]) => [name, kind, bytes] as const)))(
    'on the %s socket a connection with more is closed: %s',
    async (name, _, bytes) => {
      const path = name === 'admin' ? instance.adminSocket : socket
      const flooding = await openRaw(path)
      // The first waits for its answer, so that all the others do.
      flooding.write(get(['Host: x'], `/latest/meta-data/b${Date.now()}`) + bytes().repeat(20_000))
      expect(await flooding.closed()).toBe(true)
      // Those that were under way may have been answered; whoever goes on writing mostly cannot read them.
      expect(flooding.statusLines()).toBeLessThanOrEqual(32)
      expect((await read(socket, WHOAMI, token)).status).toBe(200)
    },
  )

  test('end at the first that is refused as ambiguous', async () => {
    const connection = await openRaw(socket)
    // The log is written in the background: what was issued before has to be there first.
    const earlier = await makeToken(socket, 77)
    expect(earlier).toHaveLength(86)
    await instance.agent.until((at) => at.event === 'token.issued' && at.ttlSeconds === 77)
    const from = instance.agent.records.length
    const put = `PUT ${TOKEN_PATH} HTTP/1.1\r\nHost: x\r\n${TTL_HEADER}: 60\r\n`
    connection.write(`${get(['Host: x', 'Host: y'])}${put}\r\n`)
    expect(refusal(await connection.answer())).toBe('400 REQUEST_HEADERS')
    expect(await connection.closed()).toBe(true)
    await expect(connection.answer()).rejects.toThrow('no whole answer')
    const issued = instance.agent.records.slice(from).filter((at) => at.event === 'token.issued')
    expect(issued).toEqual([])
    connection.destroy()
  })

  test('hidden in a body are no requests', async () => {
    const connection = await openRaw(socket)
    const hidden = get(['Host: x', 'X-Forwarded-For: hidden'])
    const length = `Content-Length: ${hidden.length}`
    connection.write(get(['Host: x', length]) + hidden + get(['Host: x'], '/no-such'))
    expect((await connection.answer()).status).toBe(200)
    expect((await connection.answer()).status).toBe(404)
    connection.destroy()
  })
})

describe('the log', () => {
  test.each([
    ['quotes', '/"},"level":"fatal","msg":"ready"'],
    ['escapes of a line end', '/%0d%0a{"msg":"planted"}'],
    ['escapes of terminal controls', '/%1b[31m%9b31m%07'],
    ['a backslash', '/\\u001b[31m\\n'],
    ['a very long path', '/x'.repeat(3500)],
  ])('holds %s as text', async (_, path) => {
    const from = instance.agent.records.length
    await sendRaw(socket, `GET ${path} HTTP/1.1\r\nHost: x\r\nVia: 1\r\n\r\n`, 0)
    const isOurs = (record: LogRecord) => instance.agent.records.indexOf(record) >= from
    const record = await instance.agent.until((at) => isOurs(at) && at.event === 'request.refused')
    expect(record).toMatchObject({
      level: 'warn',
      path: path.slice(0, 256),
      msg: 'request.refused',
    })
  })

  test('has no query, in which someone may have put a token', async () => {
    const path = '/latest/with-query'
    await read(socket, `${path}?planted-in-a-query`)
    await call(socket, { path: `${path}?planted-in-a-query`, headers: ['Via', '1'] })
    expect(await instance.agent.until((record) => record.path === path)).toBeDefined()
    expect(instance.agent.output()).not.toContain('planted-in-a-query')
  })

  test('control characters do not even get that far', async () => {
    for (const bytes of [
      '\r\n',
      '\n',
      '\r',
      '\x1b[31m',
      '\x07',
      '\x9b31m',
      '\x7f',
      '\0',
      '\u00e9',
    ]) {
      const request = `GET /planted${bytes}x HTTP/1.1\r\nHost: x\r\nVia: 1\x1b[31m\r\n\r\n`
      const answered = await sendRaw(socket, Buffer.from(request, 'latin1'))
      expect([bytes, answered.status, answered.closed]).toEqual([bytes, 400, true])
      expect(answered.body).not.toContain('planted')
    }
  })

  test('and answers have nothing in them that was sent', async () => {
    const sent = [TOKEN_HEADER, 'planted-token', 'X-Planted', 'planted', TTL_HEADER, 'planted']
    for (const method of ['GET', 'PUT', 'POST']) {
      for (const path of [
        '/planted',
        '/planted?planted',
        TOKEN_PATH,
        '/%zz/planted',
        '//planted/..',
      ]) {
        const answered = await call(socket, { method, path, headers: sent })
        expect(answered.status).toBeGreaterThanOrEqual(400)
        expect(JSON.stringify([answered.headers, answered.body])).not.toContain('planted')
      }
    }
  })

  // Last: it looks at all that was written during the cases above.
  test('has no secret, and nothing but records of printable characters', async () => {
    const secrets = await useSecrets()
    const path = `/latest/settled-${crypto.randomUUID()}`
    await read(socket, path)
    await instance.agent.until((record) => record.path === path)
    const output = instance.agent.output()
    expect(secrets.length).toBeGreaterThan(9)
    for (const [what, secret] of secrets) {
      expect(secret.length).toBeGreaterThan(7)
      expect([what, output.includes(secret)]).toEqual([what, false])
    }
    expect(output.replaceAll('\n', '')).toMatch(/^[\x20-\x7e]*$/)
    expect(instance.agent.records.filter((record) => record.unparsed === true)).toEqual([])
    const levels = new Set(instance.agent.records.map((record) => record.level))
    expect(
      [...levels].every((level) => ['debug', 'info', 'notice', 'warn'].includes(String(level))),
    ).toBe(true)
  })
})

/** Makes the agent handle everything secret, in good and bad requests. @returns all of it */
async function useSecrets(): Promise<(readonly [what: string, secret: string])[]> {
  const revoked = await makeToken(socket)
  const expired = await makeToken(socket, 1)
  const forged = `${token.slice(0, 70)}AAAAAAAAAAAAAAAA`
  const role = '/latest/meta-data/ram/security-credentials/demo-role'
  const pkcs7 = '/latest/dynamic/instance-identity/pkcs7?audience=someone'
  const credentials: Record<string, string> = JSON.parse((await read(socket, role, token)).body)
  const signature = (await read(socket, pkcs7, token)).body
  const admin = (path: string, body: object) =>
    call(instance.adminSocket, {
      method: 'POST',
      path,
      headers: ['Content-Type', 'application/json'],
      body: JSON.stringify(body),
    })
  for (const one of [token, forged, 'malformed-token']) {
    expect((await admin('/metabind/v1/inspect', { token: one })).status).toBe(200)
  }
  await admin('/metabind/v1/revoke', { token: revoked })
  await admin('/metabind/v1/revoke', { token: forged })
  await admin('/metabind/v1/revoke', { token: revoked, planted: 'planted-member' })
  await delay(1100)
  for (const bad of [revoked, expired, forged, 'malformed-token', `${token}=`]) {
    expect((await read(socket, WHOAMI, bad)).status).toBe(401)
  }
  await read(socket, `/latest/meta-data?token=${token}`)
  await call(socket, { path: WHOAMI, headers: ['Authorization', `Bearer ${token}`] })
  await putToken(socket, [TTL_HEADER, '60', 'X-Forwarded-For', token])
  const upstream = new Set<string>()
  for (const { rawHeaders } of instance.cloud?.requests ?? []) {
    rawHeaders.forEach((name, at) => {
      if (name.toLowerCase() === TOKEN_HEADER.toLowerCase()) upstream.add(rawHeaders[at + 1] ?? '')
    })
  }
  expect(upstream.size).toBeGreaterThan(0)
  return [
    ['token', token],
    ['the MAC of a token', token.slice(43)],
    ['revoked token', revoked],
    ['expired token', expired],
    ['forged token', forged],
    ['malformed token', 'malformed-token'],
    ['member of an admin call', 'planted-member'],
    ['signature', signature.slice(0, 64)],
    ...['AccessKeyId', 'AccessKeySecret', 'SecurityToken'].map(
      (name) => [name, credentials[name] ?? ''] as const,
    ),
    ...[...upstream].map((text) => ['upstream token', text] as const),
  ]
}
