import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { bootTimeMs } from 'metabind-linux'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { RecordedRequest } from '../../src/simulate/request-log.ts'
import type { Simulator } from '../../src/simulate/simulator.ts'
import {
  call,
  INSTANCE_ID_PATH,
  makeToken,
  read,
  readFresh,
  refusal,
  TOKEN_HEADER,
  TOKEN_PATH,
  TTL_HEADER,
} from '../harness/http.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { sendRaw } from '../harness/raw-http.ts'
import { requireRoot } from '../harness/root.ts'

/** Reads, but for what a source in trouble does to them (conformance-source.test.ts). */

const WHOAMI = '/metabind/v1/whoami'
const PKCS7 = '/latest/dynamic/instance-identity/pkcs7'
const CREDENTIALS = '/latest/meta-data/ram/security-credentials/'
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

let root: string
let instance: Instance
let cloud: Simulator
let socket: string
beforeAll(async () => {
  root = await mkdtemp('/tmp/mb-')
  instance = await startInstance(join(root, 'a'))
  cloud = cloudOf(instance)
  socket = instance.metadataSocket
})
afterAll(async () => {
  await instance?.stop()
  await rm(root, { recursive: true, force: true })
})
afterEach(() => cloud.faults.clear())

function cloudOf({ cloud }: Instance): Simulator {
  if (cloud === undefined) throw new Error('the instance has a cloud of its own')
  return cloud
}

/** What went upstream while `act` ran. */
async function upstreamDuring(act: () => Promise<unknown>): Promise<readonly RecordedRequest[]> {
  const before = cloud.requests.length
  await act()
  return cloud.requests.slice(before)
}

const lines = (requests: readonly RecordedRequest[]) =>
  requests.map(({ method, target, status }) => `${method} ${target} ${status}`)

describe('a read with a token relays the bytes of the source', () => {
  test('text', async () => {
    const answered = await read(socket, INSTANCE_ID_PATH, await makeToken(socket))
    expect(answered).toMatchObject({
      status: 200,
      headers: { 'content-type': 'text/plain', 'content-length': `${cloud.instanceId.length}` },
      body: cloud.instanceId,
    })
  })

  test('any byte, and the content type', async () => {
    const token = await makeToken(socket)
    // Every byte value that a status fault can carry through a string of UTF-8.
    const body = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i), 0x20ac, 0xfeff)
    const headers = { 'Content-Type': 'application/x-of-the-source; v=1' }
    cloud.faults.set({ kind: 'status', code: 200, body, headers })
    const answered = await read(socket, '/latest/user-data', token)
    expect(answered.headers['content-type']).toBe(headers['Content-Type'])
    expect(answered.bytes).toEqual(Buffer.from(body))
  })

  test('HEAD has the headers and no body', async () => {
    const headers = [TOKEN_HEADER, await makeToken(socket)]
    const answered = await call(socket, { method: 'HEAD', path: INSTANCE_ID_PATH, headers })
    expect([answered.status, answered.headers['content-length'], answered.body]).toEqual([
      200,
      `${cloud.instanceId.length}`,
      '',
    ])
  })

  test('the header name in any case', async () => {
    const token = await makeToken(socket)
    for (const name of [TOKEN_HEADER.toLowerCase(), TOKEN_HEADER.toUpperCase()]) {
      const answered = await call(socket, { path: INSTANCE_ID_PATH, headers: [name, token] })
      expect(answered.status).toBe(200)
    }
  })
})

test('a token serves a thousand reads', async () => {
  const token = await makeToken(socket)
  for (let batch = 0; batch < 50; batch += 1) {
    const reads = Array.from({ length: 20 }, () => read(socket, WHOAMI, token))
    expect((await Promise.all(reads)).map(({ status }) => status)).toEqual(Array(20).fill(200))
  }
})

describe('a token ends at its expiry', () => {
  test('to the moment: valid in all of its time, refused after it', async () => {
    const beforeMs = bootTimeMs()
    const token = await makeToken(socket, 3)
    const afterMs = bootTimeMs()
    let refused = 0
    let accepted = 0
    while (refused < 10) {
      const askedMs = bootTimeMs()
      const answered = await read(socket, WHOAMI, token)
      const answeredMs = bootTimeMs()
      if (answeredMs < beforeMs + 3000)
        expect([answeredMs, answered.status]).toEqual([answeredMs, 200])
      if (askedMs > afterMs + 3000) {
        expect([askedMs, refusal(answered)]).toEqual([askedMs, '401 TOKEN_EXPIRED'])
        refused += 1
      } else if (answered.status === 200) accepted += 1
      await delay(20)
    }
    expect(accepted).toBeGreaterThan(0)
  })
})

describe('a read without a token is refused with 403', () => {
  test.each([INSTANCE_ID_PATH, '/', '/latest', CREDENTIALS, WHOAMI, '/no-such', '/no/such/path'])(
    '%s',
    async (path) => {
      const upstream = await upstreamDuring(async () => {
        const answered = await read(socket, path)
        expect(answered).toMatchObject({
          status: 403,
          headers: {
            'content-type': 'text/plain; charset=utf-8',
            'cache-control': 'no-store',
          },
          body: 'TOKEN_MISSING: A session token is required.',
        })
      })
      expect(upstream).toEqual([])
    },
  )
})

describe('anything but the token is refused with 401', () => {
  let token: string
  beforeAll(async () => {
    token = await makeToken(socket)
  })
  const refusedAs = async (text: string) => refusal(await read(socket, WHOAMI, text))

  test('the token itself is good', async () => {
    expect((await read(socket, WHOAMI, token)).status).toBe(200)
  })

  test('short, empty and long texts', async () => {
    for (const text of ['aaa', '', 'A', 'A'.repeat(86), 'A'.repeat(64), 'A'.repeat(7000)]) {
      expect(await refusedAs(text)).toBe('401 TOKEN_INVALID')
    }
  })

  test('longer than all headers may be: 431', async () => {
    const request = `GET ${WHOAMI} HTTP/1.1\r\nHost: x\r\n${TOKEN_HEADER}: ${'A'.repeat(17_000)}\r\n\r\n`
    const answered = await sendRaw(socket, request)
    expect([refusal(answered), answered.closed]).toEqual(['431 REQUEST_TOO_LARGE', true])
  })

  test('one character changed, at every position', async () => {
    for (let at = 0; at < token.length; at += 1) {
      const was = ALPHABET.indexOf(token.charAt(at))
      // One bit and all bits; the sixteen spellings of the last character are below.
      for (const other of [was ^ 0x20, was ^ 0x3f]) {
        const changed = token.slice(0, at) + ALPHABET.charAt(other) + token.slice(at + 1)
        expect([at, await refusedAs(changed)]).toEqual([at, '401 TOKEN_INVALID'])
      }
    }
  })

  test('truncated, extended and repeated', async () => {
    const texts = [token.slice(0, -1), token.slice(1), token.slice(0, 43), `${token}A`, `A${token}`]
    for (const text of [...texts, token + token, `${token},${token}`, `${token} ${token}`]) {
      expect(await refusedAs(text)).toBe('401 TOKEN_INVALID')
    }
  })

  test('padding', async () => {
    for (const end of ['=', '==', '%3D%3D']) {
      expect(await refusedAs(token + end)).toBe('401 TOKEN_INVALID')
    }
  })

  test('unused bits: the last character has one spelling of sixteen', async () => {
    const last = ALPHABET.indexOf(token.slice(-1))
    expect(last & 0x0f).toBe(0)
    for (let bits = 1; bits < 16; bits += 1) {
      const text = token.slice(0, -1) + ALPHABET.charAt(last | bits)
      expect([bits, await refusedAs(text)]).toEqual([bits, '401 TOKEN_INVALID'])
    }
  })

  test('another alphabet', async () => {
    const bytes = Buffer.from(token, 'base64url')
    const texts = [bytes.toString('hex'), bytes.toString('base64'), token.toLowerCase()]
    // The plain base64 alphabet, without its padding: differs if the token has - or _.
    let mixed = token
    while (!/[-_]/.test(mixed)) mixed = await makeToken(socket)
    texts.push(mixed.replaceAll('-', '+').replaceAll('_', '/'))
    for (const text of [...texts, `"${token}"`, `Bearer ${token}`, token.replace(/^./, '\u00c1')]) {
      expect(await refusedAs(text)).toBe('401 TOKEN_INVALID')
    }
  })

  test('blanks inside; blanks around it belong to HTTP', async () => {
    expect(await refusedAs(`${token.slice(0, 40)} ${token.slice(40)}`)).toBe('401 TOKEN_INVALID')
    expect((await read(socket, WHOAMI, `\t ${token} \t`)).status).toBe(200)
  })

  test('nothing goes upstream for them', async () => {
    const upstream = await upstreamDuring(() => read(socket, INSTANCE_ID_PATH, `${token}A`))
    expect(upstream).toEqual([])
  })
})

describe('a token counts once and in its header only', () => {
  test.each([
    ['the same twice', (token: string) => [TOKEN_HEADER, token, TOKEN_HEADER, token]],
    ['a bad one behind', (token: string) => [TOKEN_HEADER, token, TOKEN_HEADER, 'aaa']],
    ['a bad one before', (token: string) => [TOKEN_HEADER, '', TOKEN_HEADER.toLowerCase(), token]],
  ])('two headers: %s', async (_, headers) => {
    const token = await makeToken(socket)
    const answered = await call(socket, { path: INSTANCE_ID_PATH, headers: headers(token) })
    expect(refusal(answered)).toBe('400 REQUEST_HEADERS')
  })

  test('in the query', async () => {
    const token = await makeToken(socket)
    for (const query of [`${TOKEN_HEADER}=${token}`, `token=${token}`, token]) {
      expect(refusal(await read(socket, `${INSTANCE_ID_PATH}?${query}`))).toBe('400 REQUEST_QUERY')
    }
  })

  test.each([
    ['a cookie', 'Cookie', `${TOKEN_HEADER}=`],
    ['Authorization', 'Authorization', 'Bearer '],
    ['the header of another cloud', 'X-aws-ec2-metadata-token', ''],
    ['the header with underscores', TOKEN_HEADER.replaceAll('-', '_'), ''],
  ])('in %s', async (_, name, before) => {
    const headers = [name, before + (await makeToken(socket))]
    const answered = await call(socket, { path: INSTANCE_ID_PATH, headers })
    expect(refusal(answered)).toBe('403 TOKEN_MISSING')
  })
})

const DAY_MS = 86_400_000
// Moves the wall clock that the agent's JavaScript sees: a day forward, then a day back.
const MOVABLE_CLOCK = `
const now = Date.now, moves = [${DAY_MS}, ${-DAY_MS}]
let offset = 0
Date.now = () => now() + offset
globalThis.Date = class extends Date {
  constructor(...args) { args.length === 0 ? super(Date.now()) : super(...args) }
}
process.on('SIGUSR2', () => { offset = moves.shift() ?? 0 })`

describe('another instance, with everything copied to it but the TPM', () => {
  let other: Instance
  beforeAll(async () => {
    const directory = join(root, 'b')
    await mkdir(directory)
    for (const name of ['run', 'state']) {
      await cp(join(instance.directory, name), join(directory, name), { recursive: true })
    }
    const env = {
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(MOVABLE_CLOCK)}`,
    }
    // Even the instance id is the same: what is left to tell them apart is the TPM.
    other = await startInstance(directory, { instanceId: cloud.instanceId, agent: { env } })
  })
  afterAll(() => other?.stop())

  test('refuses a token of the first, and puts it on record', async () => {
    const token = await makeToken(socket)
    expect(refusal(await read(other.metadataSocket, WHOAMI, token))).toBe('401 TOKEN_INVALID')
    expect((await read(socket, WHOAMI, token)).status).toBe(200)
    const prefix = Buffer.from(token, 'base64url').toString('hex', 6, 14)
    expect(await other.agent.until((record) => record.event === 'token.foreign')).toMatchObject({
      level: 'warn',
      audit: true,
      code: 'TOKEN_FOREIGN',
      caller: { pid: process.pid, uid: process.getuid?.() },
      path: WHOAMI,
      detail: expect.stringContaining(prefix),
    })
  })

  test('refuses it too when it is made to look like its own', async () => {
    const theirs = Buffer.from(await makeToken(socket), 'base64url')
    const own = Buffer.from(await makeToken(other.metadataSocket), 'base64url')
    own.copy(theirs, 6, 6, 14)
    const text = theirs.toString('base64url')
    expect(refusal(await read(other.metadataSocket, WHOAMI, text))).toBe('401 TOKEN_INVALID')
    await other.agent.until((record) => record.code === 'TOKEN_FORGED')
  })

  test('and its own tokens are nothing to the first', async () => {
    const token = await makeToken(other.metadataSocket)
    expect((await read(other.metadataSocket, WHOAMI, token)).status).toBe(200)
    expect(refusal(await read(socket, WHOAMI, token))).toBe('401 TOKEN_INVALID')
  })

  test('a wall clock set forward kills no token, one set back revives none', async () => {
    const at = other.metadataSocket
    const dead = await makeToken(at, 1)
    const alive = await makeToken(at, 3600)
    await delay(1050)
    const statuses = async () =>
      Promise.all([dead, alive].map(async (token) => (await read(at, WHOAMI, token)).status))
    expect(await statuses()).toEqual([401, 200])
    for (const movedMs of [DAY_MS, -DAY_MS]) {
      const from = other.agent.records.length
      other.agent.child.kill('SIGUSR2')
      // The agent's own records say that its clock has moved.
      await expect
        .poll(async () => {
          const moved = await statuses()
          const times = other.agent.records.slice(from).map(({ time }) => Date.parse(String(time)))
          const hasMoved = times.some((ms) => Math.abs(ms - Date.now() - movedMs) < 60_000)
          return [hasMoved, ...moved]
        })
        .toEqual([true, 401, 200])
    }
  })
})

const FORWARDING = [
  ...['X-Forwarded-For', 'x-forwarded-for', 'X-FORWARDED-FOR', 'X-Forwarded-Host', 'X-Forwarded'],
  ...['X-Forwarded-Proto', 'Forwarded', 'Via', 'X-Real-IP', 'X-Client-IP', 'True-Client-IP'],
]

describe('a forwarded request is refused with 403 on every route and method', () => {
  test.each(FORWARDING)('%s', async (name) => {
    const token = await makeToken(socket)
    const upstream = await upstreamDuring(async () => {
      const paths = [TOKEN_PATH, INSTANCE_ID_PATH, '/', WHOAMI, '/no-such', '/%zz', '/a/../b']
      for (const path of paths) {
        for (const method of ['GET', 'PUT', 'POST', 'DELETE', 'OPTIONS', 'PROPFIND']) {
          const headers = [TOKEN_HEADER, token, TTL_HEADER, '60', name, '']
          const answered = await call(socket, { method, path, headers })
          expect([method, path, refusal(answered)]).toEqual([method, path, '403 REQUEST_FORWARDED'])
        }
      }
    })
    expect(upstream).toEqual([])
  })
})

describe('what there is, only holders of a token learn', () => {
  test.each([
    '/no-such',
    '/latest/meta-data/no-such',
    '/1.0/meta-data',
    '/latest/api',
    '/metabind',
  ])('%s', async (path) => {
    const token = await makeToken(socket)
    expect(refusal(await read(socket, path, token))).toBe('404 METADATA_ABSENT')
    expect(refusal(await read(socket, path))).toBe('403 TOKEN_MISSING')
    expect(refusal(await read(socket, path, 'aaa'))).toBe('401 TOKEN_INVALID')
  })

  test('versions that the dialect does not know are not asked for', async () => {
    const token = await makeToken(socket)
    const upstream = await upstreamDuring(async () => {
      for (const path of ['/1.0/meta-data', '/2009-04-04/meta-data', '/_simulator/requests']) {
        expect(refusal(await read(socket, path, token))).toBe('404 METADATA_ABSENT')
      }
    })
    expect(upstream).toEqual([])
  })

  test('no sub-path is taken for the token path', async () => {
    const headers = [TTL_HEADER, '60']
    for (const path of [`${TOKEN_PATH}/x`, '/LATEST/api/token', '/latest/api/tokens']) {
      const answered = await call(socket, { method: 'PUT', path, headers })
      expect(refusal(answered)).toBe('405 REQUEST_METHOD')
    }
  })
})

describe('the spellings that clients use', () => {
  test.each([
    ['/latest/meta-data', ['/latest/meta-data/', '//latest/meta-data', '/latest//meta-data//']],
    ['/latest/meta-data', ['/latest/meta-data?', '/latest/meta-data/?', '/2016-01-01/meta-data']],
    [INSTANCE_ID_PATH, [`/${INSTANCE_ID_PATH}`, `${INSTANCE_ID_PATH}/`, `${INSTANCE_ID_PATH}?`]],
    [INSTANCE_ID_PATH, ['/2016-01-01/meta-data/instance-id', '/latest/meta%2Ddata/instance-i%64']],
    ['/', ['//', '/?']],
  ])('%s', async (path, spellings) => {
    const token = await makeToken(socket)
    const expected = await read(socket, path, token)
    expect(expected.status).toBe(200)
    for (const spelling of spellings) {
      const answered = await read(socket, spelling, token)
      expect([spelling, answered.status, answered.body]).toEqual([spelling, 200, expected.body])
    }
  })

  test('each is asked for upstream in its one canonical form', async (context) => {
    requireRoot(context, 'only root may ask past the cache')
    const token = await makeToken(socket)
    const upstream = await upstreamDuring(async () => {
      for (const path of ['//latest/meta-data//mac/?', '/latest/met%61-data/mac']) {
        expect((await readFresh(socket, path, token)).status).toBe(200)
      }
    })
    expect(lines(upstream)).toEqual(Array(2).fill('GET /latest/meta-data/mac 200'))
  })

  test('the token path too', async () => {
    for (const path of ['//latest/api/token', '/latest/api/token/', '/latest/api//token?']) {
      const answered = await call(socket, { method: 'PUT', path, headers: [TTL_HEADER, '60'] })
      expect([path, answered.status]).toEqual([path, 200])
    }
  })
})

describe('a target that could be read in two ways is refused, and not relayed', () => {
  const targets = [
    ...['/latest/../latest/meta-data', '/..', '/.', '/latest/./meta-data', '/latest/meta-data/..'],
    ...['/latest/%2e%2e/meta-data', '/latest/%2E./meta-data', '/latest/.%2e', '/latest/%2e'],
    ...['/latest%2fmeta-data', '/latest%2Fmeta-data', '/latest/meta-data%2finstance-id'],
    ...['/latest\\meta-data', '/latest/..\\meta-data', '/latest/%5cmeta-data', '/latest%5Cx'],
    ...['/latest/meta-data;a=b', '/latest;/meta-data', '/latest/%3bmeta-data', '/latest/%00'],
    ...['/latest/meta-data#x', '/latest/%23', '/latest/%3f', '/latest/%252e%252e/meta-data'],
    ...['/latest/%25', '/latest/%', '/latest/%2', '/latest/%zz', '/%ff', '/%c0%ae%c0%ae/x'],
    ...['/latest/%0d%0aX-Forwarded-For:%201', '/latest/%20', '/latest/%7f', '/latest/%e2%82%ac'],
    ...['/latest/{x}', '/latest/<x>', '/latest/"x"', '/latest/^', '/latest/`x`', '/latest/a|b'],
    ...['http://other/latest/meta-data', 'http://localhost/', 'HTTP://x/', 'latest/meta-data', '*'],
    ...[`/latest/${'a'.repeat(2100)}`, `/latest/${'a'.repeat(7000)}`, '/latest?a"b', '/latest?#'],
  ]
  test.each(targets)('%s', async (target) => {
    const token = await makeToken(socket)
    const upstream = await upstreamDuring(async () => {
      const bytes = `GET ${target} HTTP/1.1\r\nHost: x\r\n${TOKEN_HEADER}: ${token}\r\n\r\n`
      const answered = await sendRaw(socket, bytes)
      const code = answered.body.split(':', 1)[0]
      expect([answered.status, answered.closed]).toEqual([400, true])
      expect(['REQUEST_PATH', 'REQUEST_MALFORMED']).toContain(code)
      // The refusal says nothing of what was sent.
      expect(answered.body).toMatch(
        /^[A-Z_]+: The (path is not in canonical form|request is not well-formed HTTP)\.$/,
      )
    })
    expect(upstream).toEqual([])
  })

  test.each([
    ['NUL', '/latest/\0'],
    ['a blank', '/latest/meta data'],
    ['a tab', '/latest/\t'],
    ['a line feed', '/latest/\nX: y'],
    ['a carriage return', '/latest/\rX: y'],
    ['an escape', '/latest/\x1b[31m'],
    ['DEL', '/latest/\x7f'],
    ['a byte above ASCII', '/latest/\x9b31m'],
  ])('a target with %s in it', async (_, target) => {
    const token = await makeToken(socket)
    const upstream = await upstreamDuring(async () => {
      const text = `GET ${target} HTTP/1.1\r\nHost: x\r\n${TOKEN_HEADER}: ${token}\r\n\r\n`
      const answered = await sendRaw(socket, Buffer.from(text, 'latin1'))
      expect([refusal(answered), answered.closed]).toEqual(['400 REQUEST_MALFORMED', true])
    })
    expect(upstream).toEqual([])
  })

  test('longer than all headers may be: 431', async () => {
    const answered = await sendRaw(socket, `GET /${'a'.repeat(17_000)} HTTP/1.1\r\nHost: x\r\n\r\n`)
    expect([refusal(answered), answered.closed]).toEqual(['431 REQUEST_TOO_LARGE', true])
  })
})

test('the role listing has no line end', async () => {
  const answered = await read(socket, CREDENTIALS, await makeToken(socket))
  expect([answered.status, answered.body]).toEqual([200, 'demo-role'])
})

describe('the audience of an identity signature', () => {
  test.each(['a', 'https.verifier_1~x-y', 'Z'.repeat(256)])(
    '%s is relayed exactly',
    async (name) => {
      const token = await makeToken(socket)
      let body = ''
      const upstream = await upstreamDuring(async () => {
        const answered = await read(socket, `${PKCS7}?audience=${name}`, token)
        expect(answered.status).toBe(200)
        body = answered.body
      })
      expect(lines(upstream)).toEqual([`GET ${PKCS7}?audience=${name} 200`])
      // The document is inside, as it was signed.
      expect(Buffer.from(body, 'base64').toString('latin1')).toContain(`,"audience":"${name}"}`)
    },
  )

  test.each([
    ...['audience=a&audience=b', 'audience=a&x=y', 'x=y', 'audience=', 'audience', 'Audience=a'],
    ...['audience=a%22b', 'audience=a%20b', 'audience=a+b', 'audience=a/b', 'audience=a:b'],
    ...[`audience=${'a'.repeat(257)}`, '?audience=a', 'audience==a', 'audience=a?', 'audience[]=a'],
  ])('?%s is refused', async (query) => {
    const token = await makeToken(socket)
    const upstream = await upstreamDuring(async () => {
      const answered = await read(socket, `${PKCS7}?${query}`, token)
      expect(answered.status).toBe(400)
      expect(answered.body).toMatch(/^REQUEST_(QUERY|PATH): /)
    })
    expect(upstream).toEqual([])
  })

  test('no other path takes it', async () => {
    const token = await makeToken(socket)
    const paths = [INSTANCE_ID_PATH, '/', `${PKCS7}x`, '/latest/dynamic/instance-identity/document']
    for (const path of [...paths, WHOAMI, TOKEN_PATH]) {
      const answered = await read(socket, `${path}?audience=a`, token)
      expect([path, refusal(answered)]).toEqual([path, '400 REQUEST_QUERY'])
    }
  })
})

describe('when the source ends our session', () => {
  test('it is renewed once, and the caller sees nothing of it', async (context) => {
    requireRoot(context, 'only root may ask past the cache')
    const token = await makeToken(socket)
    await readFresh(socket, INSTANCE_ID_PATH, token)
    cloud.faults.set({ kind: 'reject-tokens', method: 'GET', times: 1 })
    const upstream = await upstreamDuring(async () => {
      const answered = await readFresh(socket, INSTANCE_ID_PATH, token)
      expect([answered.status, answered.body]).toEqual([200, cloud.instanceId])
    })
    expect(lines(upstream)).toEqual([
      `GET ${INSTANCE_ID_PATH} 401`,
      `PUT ${TOKEN_PATH} 200`,
      `GET ${INSTANCE_ID_PATH} 200`,
    ])
  })

  test('and not a second time: no caller is told 401 for our own token', async (context) => {
    requireRoot(context, 'only root may ask past the cache')
    const token = await makeToken(socket)
    cloud.faults.set({ kind: 'status', code: 401, method: 'GET' })
    const upstream = await upstreamDuring(async () => {
      const answered = await readFresh(socket, INSTANCE_ID_PATH, token)
      expect([refusal(answered), answered.headers['retry-after']]).toEqual(['503 SOURCE_DOWN', '1'])
    })
    expect(lines(upstream)).toEqual([
      `GET ${INSTANCE_ID_PATH} 401`,
      `PUT ${TOKEN_PATH} 200`,
      `GET ${INSTANCE_ID_PATH} 401`,
    ])
  })
})

describe('nothing of a caller goes upstream', () => {
  test('but the path: the requests are our own', async () => {
    const token = await makeToken(socket)
    const headers = [
      ...['Cookie', 'session=planted', 'Authorization', 'Bearer planted', 'User-Agent', 'planted'],
      ...['Accept', 'text/planted', 'Accept-Encoding', 'gzip', 'If-None-Match', '"planted"'],
      ...['Range', 'bytes=0-1', 'X-Custom', 'planted', 'Proxy-Authorization', 'planted'],
      ...['TE', 'trailers', 'Max-Forwards', '1', TTL_HEADER, '60'],
    ]
    cloud.faults.set({ kind: 'reject-tokens', method: 'GET', times: 1 })
    const upstream = await upstreamDuring(async () => {
      const path = '/latest/meta-data/zone-id'
      const sent = [...headers, TOKEN_HEADER, token]
      expect((await call(socket, { path, headers: sent })).status).toBe(200)
    })
    expect(upstream.map(({ method, rawHeaders }) => [method, ...namesOf(rawHeaders)])).toEqual([
      ['GET', 'accept-encoding', 'connection', 'host', TOKEN_HEADER.toLowerCase()],
      [
        ...['PUT', 'accept-encoding', 'connection', 'content-length', 'host'],
        TTL_HEADER.toLowerCase(),
      ],
      ['GET', 'accept-encoding', 'connection', 'host', TOKEN_HEADER.toLowerCase()],
    ])
  })

  test('in all of this run, no token of a caller, and a token of ours on every read', async () => {
    const token = await makeToken(socket)
    await readFresh(socket, INSTANCE_ID_PATH, token)
    // Ours are 86 characters; the cloud's are not.
    const sent = cloud.requests.flatMap(({ rawHeaders }) => rawHeaders)
    expect(sent.filter((text) => /^[A-Za-z0-9_-]{86}$/.test(text))).toEqual([])
    const names = new Set(cloud.requests.flatMap(({ rawHeaders }) => namesOf(rawHeaders)))
    expect([...names].sort()).toEqual([
      ...['accept-encoding', 'connection', 'content-length', 'host'],
      ...[TOKEN_HEADER.toLowerCase(), TTL_HEADER.toLowerCase()],
    ])
    const reads = cloud.requests.filter(({ method }) => method === 'GET')
    expect(reads.length).toBeGreaterThan(10)
    for (const { rawHeaders } of reads) {
      expect(namesOf(rawHeaders)).toContain(TOKEN_HEADER.toLowerCase())
    }
    expect(new Set(cloud.requests.map(({ method }) => method))).toEqual(new Set(['GET', 'PUT']))
  })
})

function namesOf(rawHeaders: readonly string[]): string[] {
  return rawHeaders
    .filter((_, at) => at % 2 === 0)
    .map((name) => name.toLowerCase())
    .sort()
}

// Last: these end the agent that the cases above ask.
describe('a token from before', () => {
  test('a restart is good', async () => {
    const token = await makeToken(socket)
    await instance.restartAgent()
    expect((await read(socket, WHOAMI, token)).status).toBe(200)
    await instance.restartAgent('SIGKILL')
    expect((await read(socket, WHOAMI, token)).status).toBe(200)
  })

  test('a reboot is not', async () => {
    const token = await makeToken(socket)
    await instance.reboot()
    expect(refusal(await read(socket, WHOAMI, token))).toBe('401 TOKEN_INVALID')
    await instance.agent.until((record) => record.code === 'TOKEN_FORGED')
    expect((await read(socket, WHOAMI, await makeToken(socket))).status).toBe(200)
  })

  test('a reset of the TPM is not, though the runtime directory was kept', async () => {
    const token = await makeToken(socket)
    await instance.agent.stop()
    await instance.tpm.reset()
    await instance.restartAgent()
    expect(refusal(await read(socket, WHOAMI, token))).toBe('401 TOKEN_INVALID')
  })

  test('the loss of the runtime directory is not, though the TPM was kept', async () => {
    const token = await makeToken(socket)
    await instance.agent.stop()
    await rm(join(instance.runtimeDirectory, 'salt'))
    await instance.restartAgent()
    expect(refusal(await read(socket, WHOAMI, token))).toBe('401 TOKEN_INVALID')
  })
})
