import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { openRegistrarHttp, type RegistrarPlace } from '../../src/federation/registrar-http.ts'
import { AUTHORITY_EXTENSIONS, LEAF_EXTENSIONS, OpensslPki } from '../harness/openssl-pki.ts'

/** What comes from the place of a registrar, whoever is there. */

const pki = new OpensslPki()
const authority = pki.certificate({ subject: '/CN=one', extensions: AUTHORITY_EXTENSIONS })
const other = pki.certificate({ subject: '/CN=two', extensions: AUTHORITY_EXTENSIONS })
const leaf = pki.certificate({
  subject: '/CN=localhost',
  extensions: [...LEAF_EXTENSIONS, 'subjectAltName = DNS:localhost'],
  under: authority,
})

let server: Server
let place: RegistrarPlace
let said: { status: number; body: string; headers?: Record<string, string> }
let ending: AbortController

beforeAll(async () => {
  const tls = { key: readFileSync(leaf.keyFile), cert: readFileSync(leaf.file) }
  server = createServer(tls, (_incoming, answer) => {
    answer.writeHead(said.status, said.headers)
    answer.end(said.body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  place = {
    url: `https://localhost:${(server.address() as AddressInfo).port}`,
    address: { host: '127.0.0.1', port: undefined },
    authorities: readFileSync(authority.file),
    timeoutMs: 60_000,
  }
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
  pki.remove()
})
beforeEach(() => {
  ending = new AbortController()
})

async function asked(at = place): Promise<unknown> {
  using http = openRegistrarHttp(at, ending.signal)
  return await http.ask({ method: 'GET', path: '/enrol/nonce' }).then(
    ({ body }) => body,
    ({ code, detail, retryAfterMs }) => ({ code, detail, retryAfterMs }),
  )
}

test('an answer is its JSON, and what is none is no answer', async () => {
  said = { status: 200, body: '{"a":1}' }
  expect(await asked()).toEqual({ a: 1 })
  said = { status: 200, body: 'hello' }
  expect(await asked()).toBeUndefined()
})

test.each([
  ['a redirect', 302, { location: 'https://elsewhere.example/' }, 'Status 302.', undefined],
  ['a fault', 500, {}, 'Status 500.', undefined],
  ['a time to wait', 503, { 'retry-after': '7' }, 'Status 503.', 7000],
  ['a time without end', 429, { 'retry-after': '999999' }, 'Status 429.', 3_600_000],
  ['a refusal in words of nobody', 403, {}, 'Status 403.', undefined],
])('%s is told as one who is away', async (_name, status, headers, detail, retryAfterMs) => {
  said = { status, headers, body: '{"error":"\\u001b[31m"}' }
  expect(await asked()).toEqual({ code: 'FEDERATION_DOWN', detail, retryAfterMs })
})

test.each([
  [403, true],
  [413, true],
  [408, false],
  [429, false],
  [500, false],
  [302, false],
])(
  'whether it is the request that is refused, not everybody: status %i, %s',
  async (status, is) => {
    said = { status, body: '<html>' }
    using http = openRegistrarHttp(place, ending.signal)
    await expect(http.ask({ method: 'GET', path: '/token' })).rejects.toMatchObject({
      isOfRequest: is,
    })
  },
)

test('a refusal is told by its code, in our own words', async () => {
  said = { status: 403, body: '{"error":"ENROL_BANNED","message":"\\u001b[31m"}' }
  const refused = {
    code: 'FEDERATION_REFUSED',
    detail: expect.stringMatching(/^ENROL_BANNED: The/),
  }
  expect(await asked()).toMatchObject(refused)
  said = {
    status: 400,
    body: '{"error":"invalid_target","error_description":"REGISTRAR_AUDIENCE: x"}',
  }
  expect(await asked()).toMatchObject({ detail: expect.stringMatching(/^REGISTRAR_AUDIENCE: No/) })
})

test('an answer without end is read to its bound', async () => {
  said = { status: 200, body: `"${'x'.repeat(70_000)}"` }
  expect(await asked()).toMatchObject({ code: 'FEDERATION_DOWN' })
})

test('a certificate of another authority, or of another name, ends it', async () => {
  said = { status: 200, body: '{"a":1}' }
  const untrusted = { ...place, authorities: readFileSync(other.file) }
  expect(await asked(untrusted)).toMatchObject({ code: 'FEDERATION_DOWN' })
  const { port } = new URL(place.url)
  const named = { ...place, url: `https://registrar.example:${port}` }
  expect(await asked(named)).toMatchObject({ code: 'FEDERATION_DOWN' })
})

test('ended it asks nobody', async () => {
  said = { status: 200, body: '{"a":1}' }
  ending.abort()
  expect(await asked()).toMatchObject({ code: 'FEDERATION_DOWN' })
})

test('what wants to speak another protocol is no answer, and keeps nobody waiting', async () => {
  const tls = { key: readFileSync(leaf.keyFile), cert: readFileSync(leaf.file) }
  const switching = createTlsServer(tls, (socket) => {
    socket.on('error', () => undefined)
    socket.once('data', () => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n')
    })
  })
  switching.listen(0, '127.0.0.1')
  await once(switching, 'listening')
  const { port } = switching.address() as AddressInfo
  try {
    const answer = await asked({ ...place, url: `https://localhost:${port}` })
    expect(answer).toMatchObject({ code: 'FEDERATION_DOWN' })
  } finally {
    switching.close()
  }
})
