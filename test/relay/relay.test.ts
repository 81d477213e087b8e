import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { relay } from '../../src/relay/relay.ts'
import { Secret } from '../../src/secret.ts'
import { makeToken, refusal, TOKEN_HEADER, TTL_HEADER } from '../harness/http.ts'
import { sendRaw } from '../harness/raw-http.ts'
import { DIALECT, type RelayParts, relayParts } from '../harness/relay-parts.ts'
import { scratchDirectory } from '../harness/scratch.ts'

/** What every request has to pass before anybody asks what it wants, byte by byte, through the relay itself. */

const WHOAMI = '/metabind/v1/whoami'
const [PKCS7 = ''] = DIALECT.audiencePaths

let scratch: Awaited<ReturnType<typeof scratchDirectory>>
let parts: RelayParts
let app: ReturnType<typeof relay>
let socket: string
let token: string

beforeAll(async () => {
  scratch = await scratchDirectory()
  parts = await relayParts()
  const identityTokens = { issue: async (audience: string) => new Secret(`for ${audience}`) }
  app = relay({ ...parts.deps, identityTokens })
  socket = `${scratch.path}/s`
  await app.listen({ path: socket })
  token = await makeToken(socket)
})
afterAll(async () => {
  await app.close()
  await parts.stop()
  await scratch[Symbol.asyncDispose]()
})

interface Asked {
  readonly method?: string
  readonly path?: string
  readonly version?: string
  readonly headers?: readonly string[]
  readonly body?: string
}

/** With a token and a Host, unless other headers are given. */
async function ask({ method = 'GET', path = WHOAMI, version = '1.1', ...rest }: Asked) {
  const { headers = ['Host: x'], body = '' } = rest
  const head = [`${method} ${path} HTTP/${version}`, `${TOKEN_HEADER}: ${token}`, ...headers]
  const answered = await sendRaw(socket, `${[...head, '', ''].join('\r\n')}${body}`, 0)
  return answered.status === 200 ? '200' : refusal(answered)
}

describe('the order of a request', () => {
  test('a Host is asked for in HTTP/1.1 alone', async () => {
    expect(await ask({})).toBe('200')
    expect(await ask({ headers: [] })).toBe('400 REQUEST_HEADERS')
    expect(await ask({ headers: [], version: '1.0' })).toBe('200')
    expect(await ask({ version: '1.0' })).toBe('200')
  })

  test('HTTP/0.9, as which the parser takes a target that a bare line feed ends, is none', async () => {
    const bytes = `GET ${WHOAMI}\nHost: x\r\n${TOKEN_HEADER}: ${token}\r\n\r\n`
    expect(refusal(await sendRaw(socket, bytes))).toBe('400 REQUEST_MALFORMED')
  })

  test('64 headers are let through, and 65 are not', async () => {
    // Beside the token and the Host.
    const more = (count: number) => Array.from({ length: count }, (_, at) => `X-${at}: x`)
    expect(await ask({ headers: ['Host: x', ...more(62)] })).toBe('200')
    expect(await ask({ headers: ['Host: x', ...more(63)] })).toBe('431 REQUEST_TOO_LARGE')
    expect(await ask({ headers: ['Host: x', ...more(200)] })).toBe('431 REQUEST_TOO_LARGE')
  })

  test('another protocol may be offered, but not with a body, which the parser would take for a request', async () => {
    const upgrade = ['Host: x', 'Connection: Upgrade', 'Upgrade: h2c']
    const put = { method: 'PUT', path: DIALECT.tokenPath }
    const lifetime = `${TTL_HEADER}: 60`
    expect(await ask({ headers: upgrade })).toBe('200')
    for (const none of ['0', '00']) {
      const headers = [...upgrade, lifetime, `Content-Length: ${none}`]
      expect(await ask({ ...put, headers })).toBe('200')
    }
    const sized = [...upgrade, lifetime, 'Content-Length: 1']
    expect(await ask({ ...put, headers: sized, body: 'x' })).toBe('400 REQUEST_HEADERS')
    const chunked = [...upgrade, lifetime, 'Transfer-Encoding: chunked']
    expect(await ask({ ...put, headers: chunked, body: '0\r\n\r\n' })).toBe('400 REQUEST_HEADERS')
    const body = ['Host: x', lifetime, 'Content-Length: 1']
    expect(await ask({ ...put, headers: body, body: 'x' })).toBe('200')
  })

  const put = (headers: readonly string[]) =>
    [`PUT ${DIALECT.tokenPath} HTTP/1.1`, ...headers, `${TTL_HEADER}: 60`, '', ''].join('\r\n')
  const ambiguous = ['Host: x', 'Connection: Upgrade', 'Upgrade: h2c', 'Content-Length: 1']

  test.each([
    ['names no host', put([])],
    ['offers another protocol, and has a body', `${put(ambiguous)}x`],
  ])('what came behind a request that %s is not carried out', async (_what, first) => {
    const answered = (kind: 'token' | 'none', code: 'OK' | 'REQUEST_MALFORMED') =>
      parts.deps.counters.requests.get(kind)?.get(code) ?? 0
    const before = [answered('token', 'OK'), answered('none', 'REQUEST_MALFORMED')]
    const refused = await sendRaw(socket, `${first}${put(['Host: x'])}`)
    expect([refusal(refused), refused.closed]).toEqual(['400 REQUEST_HEADERS', true])
    expect(answered('token', 'OK')).toBe(before[0])
    if (first === put([])) expect(answered('none', 'REQUEST_MALFORMED')).toBe((before[1] ?? 0) + 1)
  })
})

describe('what is judged of a request', () => {
  test('its headers before its path, its path before its query, and its query before its token', async () => {
    const bad = { path: '/../x?y' }
    expect(await ask({ ...bad, headers: ['Host: x', 'Via: x'] })).toBe('403 REQUEST_FORWARDED')
    expect(await ask({ ...bad, headers: ['Host: x', 'Origin: x'] })).toBe('403 REQUEST_BROWSER')
    expect(await ask(bad)).toBe('400 REQUEST_PATH')
    expect(await ask({ path: `${WHOAMI}?x`, headers: ['Host: x', `${TOKEN_HEADER}: y`] })).toBe(
      '400 REQUEST_HEADERS',
    )
    expect(await ask({ path: `${WHOAMI}?x` })).toBe('400 REQUEST_QUERY')
  })

  test('an audience is for what takes one; what the agent’s own paths take they judge themselves', async () => {
    expect(await ask({ path: `${PKCS7}?audience=a` })).not.toMatch(/REQUEST_/)
    expect(await ask({ path: `${PKCS7}?other=a` })).toBe('400 REQUEST_QUERY')
    // A colon is one of theirs.
    const own = await ask({ path: '/metabind/v1/identity?audience=a:b' })
    expect(own).toBe(process.getuid?.() === 0 ? '200' : '403 POLICY_DENIED')
    expect(await ask({ path: `${PKCS7}?audience=a:b` })).toBe('400 REQUEST_QUERY')
  })

  test('its method, by the path in the form that is looked up', async () => {
    expect(await ask({ method: 'DELETE', path: '//metabind/v1//whoami/' })).toBe(
      '405 REQUEST_METHOD',
    )
    expect(await ask({ path: '//metabind/v1//whoami/' })).toBe('200')
  })
})
