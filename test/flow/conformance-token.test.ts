import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { Agent } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  call,
  INSTANCE_ID_PATH,
  makeToken,
  putToken,
  refusal,
  TOKEN_HEADER,
  TOKEN_PATH,
  TTL_HEADER,
} from '../harness/http.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { openRaw, sendRaw } from '../harness/raw-http.ts'

/** Token requests: the rules of ECS, and what is decided where they leave something open. */

const WHOAMI = '/metabind/v1/whoami'
const ANY_TOKEN = /^[A-Za-z0-9_-]{86}$/

let directory: string
let instance: Instance
let socket: string
beforeAll(async () => {
  directory = await mkdtemp('/tmp/mb-')
  instance = await startInstance(directory)
  socket = instance.metadataSocket
})
afterAll(async () => {
  await instance?.stop()
  await rm(directory, { recursive: true, force: true })
})

/** How many tokens `act` makes. */
async function tokensMadeBy(act: () => Promise<unknown>): Promise<number> {
  const before = await tokensIssued()
  await act()
  return (await tokensIssued()) - before
}

/** How many tokens the agent has made, by its own count. */
async function tokensIssued(): Promise<number> {
  const metrics = await call(instance.adminSocket, { path: '/metabind/v1/metrics' })
  return Number(/^metabind_tokens_issued_total (\d+)$/m.exec(metrics.body)?.[1])
}

function putRaw(
  lines: readonly string[],
  body: string | Buffer = '',
): Parameters<typeof sendRaw>[1] {
  const head = [`PUT ${TOKEN_PATH} HTTP/1.1`, 'Host: localhost', ...lines, '', ''].join('\r\n')
  return Buffer.concat([Buffer.from(head, 'latin1'), Buffer.from(body)])
}

describe('a lifetime in 1 to 21600 gives a token', () => {
  test.each(['1', '60', '21600'])('%s', async (ttl) => {
    const answered = await putToken(socket, [TTL_HEADER, ttl])
    expect(answered).toMatchObject({
      status: 200,
      headers: {
        'content-type': 'text/plain',
        'content-length': '86',
        'cache-control': 'no-store',
        [TTL_HEADER.toLowerCase()]: ttl,
      },
    })
    expect(answered.headers).not.toHaveProperty('transfer-encoding')
    // The whole body: no line end, for clients put it into a header as it is.
    expect(answered.body).toMatch(ANY_TOKEN)
  })

  test('in exactly these bytes', async () => {
    const answered = await sendRaw(socket, putRaw([`${TTL_HEADER}: 60`, 'Connection: close']))
    const { date, ...headers } = answered.headers
    expect(date).toMatch(/ GMT$/)
    expect(headers).toEqual({
      'content-type': 'text/plain',
      [TTL_HEADER.toLowerCase()]: '60',
      'cache-control': 'no-store',
      'content-length': '86',
      connection: 'close',
    })
    expect(answered.body).toMatch(ANY_TOKEN)
  })

  test('the header name in any case', async () => {
    for (const name of [TTL_HEADER.toLowerCase(), TTL_HEADER.toUpperCase()]) {
      expect((await putToken(socket, [name, '60'])).status).toBe(200)
    }
  })

  test('no two alike', async () => {
    const tokens = await Promise.all(Array.from({ length: 50 }, () => makeToken(socket)))
    expect(new Set(tokens).size).toBe(50)
  })
})

describe('any other lifetime is refused', () => {
  test.each([
    ...['0', '00', '21601', '21700', '99999', '100000', '-1', '-0', '+60', '060', '00060', '1.5'],
    ...['1e3', '0x10', '6 0', '6\t0', '', '60, 60', '60,60', '60;', '1'.padEnd(31, '0'), 'aaa'],
    ...['\u00b2', '6\u00b9', '60s', 'Infinity', 'NaN', '"60"'],
  ])('%j', async (ttl) => {
    const made = await tokensMadeBy(async () => {
      const answered = await sendRaw(socket, putRaw([`${TTL_HEADER}: ${ttl}`]), 0)
      expect(refusal(answered)).toBe('400 TOKEN_TTL')
    })
    expect(made).toBe(0)
  })

  // Arabic-Indic and fullwidth digits, as the bytes that a client would send.
  test.each(['\u0666\u0660', '\uff16\uff10'])('the digits %s', async (ttl) => {
    const value = Buffer.from(ttl).toString('latin1')
    const answered = await sendRaw(socket, putRaw([`${TTL_HEADER}: ${value}`]), 0)
    expect(refusal(answered)).toBe('400 TOKEN_TTL')
  })

  test.each([
    ['60', '60'],
    ['60', '21601'],
    ['0', '60'],
  ])('two headers, %s and %s', async (one, other) => {
    const made = await tokensMadeBy(async () => {
      const answered = await putToken(socket, [TTL_HEADER, one, TTL_HEADER.toLowerCase(), other])
      expect(refusal(answered)).toBe('400 REQUEST_HEADERS')
    })
    expect(made).toBe(0)
  })

  test('but blanks around the number belong to HTTP', async () => {
    const answered = await sendRaw(socket, putRaw([`${TTL_HEADER}: \t 60 \t`]), 0)
    expect(answered).toMatchObject({ status: 200, headers: { [TTL_HEADER.toLowerCase()]: '60' } })
  })
})

test('no lifetime is refused', async () => {
  expect(refusal(await putToken(socket, []))).toBe('400 TOKEN_TTL')
})

const FORWARDED_FOR = 'X-Forwarded-For'
const FORWARDING = [
  ...['Forwarded', 'Via', 'X-Real-IP', 'X-Client-IP', 'True-Client-IP', 'X-Forwarded'],
  ...['X-Forwarded-Host', 'X-Forwarded-Proto', 'X-Forwarded-Port', 'X-Forwarded-Server'],
]

describe('a request with X-Forwarded-For makes no token', () => {
  const forwarded: readonly (readonly [string, readonly string[]])[] = [
    ['a value', [`${FORWARDED_FOR}: 192.0.2.9`]],
    ['empty', [`${FORWARDED_FOR}:`]],
    ['blank', [`${FORWARDED_FOR}: \t `]],
    ['lower case', ['x-forwarded-for: 192.0.2.9']],
    ['mixed case', ['x-FORWARDED-foR: 192.0.2.9']],
    ['twice', [`${FORWARDED_FOR}: 192.0.2.9`, `${FORWARDED_FOR}: 192.0.2.9`]],
    ['twice, empty', [`${FORWARDED_FOR}:`, `${FORWARDED_FOR}:`]],
    ['after many headers', [...Array(58).fill('a:'), `${FORWARDED_FOR}: 192.0.2.9`]],
  ]
  const lifetimes: readonly (readonly [string, readonly string[]])[] = [
    ['a lifetime', [`${TTL_HEADER}: 60`]],
    ['no lifetime', []],
    ['a bad lifetime', [`${TTL_HEADER}: 0`]],
    ['two lifetimes', [`${TTL_HEADER}: 60`, `${TTL_HEADER}: 60`]],
  ]
  const cases = forwarded.flatMap(([how, headers]) =>
    lifetimes.map(([ttl, more]) => [how, ttl, [...more, ...headers]] as const),
  )
  test.each(cases)('%s, with %s', async (_how, _ttl, headers) => {
    const made = await tokensMadeBy(async () => {
      expect(refusal(await sendRaw(socket, putRaw(headers), 0))).toBe('403 REQUEST_FORWARDED')
    })
    expect(made).toBe(0)
  })

  // node:http drops headers beyond a number of them; none may be dropped unjudged.
  test.each([990, 1000, 1005, 2000, 3000])('behind %i other headers', async (count) => {
    const headers = [`${TTL_HEADER}: 60`, ...Array(count).fill('a:'), `${FORWARDED_FOR}: 1`]
    const made = await tokensMadeBy(async () => {
      const { status } = await sendRaw(socket, putRaw(headers), 0)
      expect([403, 431]).toContain(status)
    })
    expect(made).toBe(0)
  })

  test('and the refusal is on record', async () => {
    await putToken(socket, [TTL_HEADER, '60', FORWARDED_FOR, ''])
    expect(
      await instance.agent.until((record) => record.code === 'REQUEST_FORWARDED'),
    ).toMatchObject({
      audit: true,
      event: 'request.refused',
      caller: { pid: process.pid, uid: process.getuid?.() },
      path: TOKEN_PATH,
    })
  })
})

test.each(FORWARDING)('a request with %s makes no token', async (name) => {
  const made = await tokensMadeBy(async () => {
    for (const value of ['', 'for=192.0.2.9']) {
      const answered = await putToken(socket, [TTL_HEADER, '60', name, value])
      expect(refusal(answered)).toBe('403 REQUEST_FORWARDED')
    }
  })
  expect(made).toBe(0)
})

describe('only PUT is allowed on the token path', () => {
  test.each(['GET', 'HEAD', 'POST', 'DELETE', 'PATCH', 'OPTIONS', 'PROPFIND', 'PURGE'])(
    '%s',
    async (method) => {
      const token = await makeToken(socket)
      const headers = [TTL_HEADER, '60', TOKEN_HEADER, token]
      const answered = await call(socket, { method, path: TOKEN_PATH, headers })
      expect([answered.status, answered.headers.allow]).toEqual([405, 'PUT'])
      expect(answered.body).toBe(
        method === 'HEAD' ? '' : 'REQUEST_METHOD: This method is not allowed here.',
      )
    },
  )
})

test.each([
  '/',
  '/latest',
  INSTANCE_ID_PATH,
  '/latest/api',
  '/2016-01-01/api/token',
  WHOAMI,
  '/no',
])('PUT on %s is refused with 405', async (path) => {
  const made = await tokensMadeBy(async () => {
    const answered = await call(socket, { method: 'PUT', path, headers: [TTL_HEADER, '60'] })
    expect([refusal(answered), answered.headers.allow]).toEqual(['405 REQUEST_METHOD', 'GET, HEAD'])
  })
  expect(made).toBe(0)
})

describe('a body means nothing', () => {
  const ttl = `${TTL_HEADER}: 60`
  const sized = (bytes: number) => putRaw([ttl, `Content-Length: ${bytes}`], 'x'.repeat(bytes))
  const chunked = (bytes: number) => {
    const chunk = `${bytes.toString(16)}\r\n${'x'.repeat(bytes)}\r\n0\r\n\r\n`
    return putRaw([ttl, 'Transfer-Encoding: chunked'], chunk)
  }

  test.each([1, 1024])('%i bytes are dropped', async (bytes) => {
    expect((await sendRaw(socket, sized(bytes), 0)).body).toMatch(ANY_TOKEN)
    expect((await sendRaw(socket, chunked(bytes), 0)).body).toMatch(ANY_TOKEN)
  })

  test('its type does not matter', async () => {
    for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded']) {
      const bytes = putRaw([ttl, `Content-Type: ${type}`, 'Content-Length: 5'], '{"a":')
      expect((await sendRaw(socket, bytes, 0)).body).toMatch(ANY_TOKEN)
    }
  })

  test('what is no type is none', async () => {
    for (const type of ['json', '', ';', 'a/b/c', 'text/plain; x', '"']) {
      for (const body of ['', '{"a":']) {
        const length = `Content-Length: ${body.length}`
        const answered = await sendRaw(
          socket,
          putRaw([ttl, `Content-Type: ${type}`, length], body),
          0,
        )
        expect([type, body, answered.body]).toEqual([type, body, expect.stringMatching(ANY_TOKEN)])
      }
    }
  })

  test('more than 1024 are refused, and the connection ends', async () => {
    for (const bytes of [sized(1025), chunked(1025), sized(100_000)]) {
      const answered = await sendRaw(socket, bytes)
      expect([refusal(answered), answered.closed]).toEqual(['413 REQUEST_BODY', true])
    }
  })

  test('what is announced too long is refused before it comes', async () => {
    const answered = await sendRaw(socket, putRaw([ttl, 'Content-Length: 4294967296']))
    expect([refusal(answered), answered.closed]).toEqual(['413 REQUEST_BODY', true])
  })

  test('a caller that waits for 100 Continue is told to go on', async () => {
    const connection = await openRaw(socket)
    connection.write(putRaw([ttl, 'Expect: 100-continue', 'Content-Length: 1']))
    expect((await connection.answer()).status).toBe(100)
    connection.write('x')
    expect((await connection.answer()).body).toMatch(ANY_TOKEN)
    connection.destroy()
  })
})

test('PUT without Content-Length, as curl sends it, and with 0, as SDKs do', async () => {
  for (const more of [[], ['Content-Length: 0'], ['User-Agent: curl/7.88.1', 'Accept: */*']]) {
    const answered = await sendRaw(socket, putRaw([`${TTL_HEADER}: 60`, ...more]), 0)
    expect([answered.status, answered.body]).toEqual([200, expect.stringMatching(ANY_TOKEN)])
  }
})

test('ten thousand tokens are all valid, and the agent does not grow with them', async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 })
  const many = async <In, Out>(inputs: readonly In[], each: (input: In) => Promise<Out>) => {
    const outputs: Out[] = []
    const next = inputs.values()
    // Array iterators hand each input to one of the 16.
    const worker = async () => {
      for (const input of next) outputs.push(await each(input))
    }
    await Promise.all(Array.from({ length: 16 }, worker))
    return outputs
  }
  const mint = async () => (await putToken(socket, [TTL_HEADER, '600'], agent)).body
  const use = async (token: string) =>
    (await call(socket, { path: WHOAMI, headers: [TOKEN_HEADER, token], agent })).status
  // The first thousand warm the agent up: buffers and compiled code are not growth.
  const first = await many(Array(1000).fill(0), mint)
  await many(first, use)
  const beforeKb = residentKb(instance.agent.child.pid)
  const tokens = [...first, ...(await many(Array(9000).fill(0), mint))]
  const statuses = await many(tokens, use)
  agent.destroy()
  expect(new Set(tokens).size).toBe(10_000)
  expect(statuses.filter((status) => status !== 200)).toEqual([])
  expect(residentKb(instance.agent.child.pid) - beforeKb).toBeLessThan(48 * 1024)
})

function residentKb(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1])
}
