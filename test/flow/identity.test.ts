import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { importJWK, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { verifyEvidence, verifyIdentityToken } from '../../src/verify/index.ts'
import { type Answered, call, refusal, TOKEN_HEADER } from '../harness/http.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { agentStatus, metabind, newToken, scratch } from '../harness/metabind.ts'

/** Identity tokens of a real agent, verified by jose with the key that verified evidence names. */

vi.setConfig({ testTimeout: 60_000 })

const AUDIENCE = 'https://service.example/login'
const PATH = '/metabind/v1/identity'

let stack: AsyncDisposableStack
let instance: Instance
let token: string
/** From evidence, as a service elsewhere has it. */
let known: ReturnType<typeof verifyEvidence>

beforeAll(async () => {
  stack = new AsyncDisposableStack()
  const { path } = stack.use(await scratch())
  instance = await startInstance(path, { certified: true })
  stack.defer(() => instance.stop())
  token = await newToken(instance)
  known = await evidenceOf(instance)
})
afterAll(() => stack.disposeAsync())

async function evidenceOf(of: Instance) {
  const nonce = randomBytes(32)
  const { stdout } = await metabind(of, ['evidence', '--nonce', nonce.toString('hex')])
  const file = (name: string) => readFile(join(of.directory, name))
  const names = ['anchors/issuercert.pem', 'anchors/swtpm-localca-rootca-cert.pem']
  return verifyEvidence(Buffer.from(stdout), {
    nonce,
    now: new Date(),
    allowProvisional: true,
    trust: {
      ekAnchors: await Promise.all(names.map(file)),
      identityCertificate: await file('cloud.pem'),
    },
  })
}

function ask(query: string, method = 'GET', headers = [TOKEN_HEADER, token]): Promise<Answered> {
  return call(instance.metadataSocket, { method, path: `${PATH}${query}`, headers })
}

const asked = (audience: string) => ask(`?audience=${encodeURIComponent(audience)}`)

describe('a token', () => {
  test('is accepted by jose, with the claims of this instance', async () => {
    const answered = await asked(AUDIENCE)
    expect(answered.status).toBe(200)
    expect(answered.headers).toMatchObject({
      'content-type': 'application/jwt',
      'cache-control': 'no-store',
    })
    const key = await importJWK({ ...known.sk.jwk }, 'ES256')
    const { payload, protectedHeader } = await jwtVerify(answered.body, key, {
      issuer: `metabind:${known.iid}`,
      audience: AUDIENCE,
      subject: known.instanceId,
      requiredClaims: ['exp', 'iat', 'jti'],
    })
    expect(protectedHeader).toEqual({ alg: 'ES256', typ: 'JWT' })
    expect(payload).toMatchObject({ sub: instance.cloud?.instanceId, iid: known.iid })
    expect(payload.uid).toBe(process.getuid?.())
    expect(typeof payload.unit).toMatch(/^(?:string|undefined)$/)
    const { iat = 0, exp = 0 } = payload
    expect(exp - iat).toBe(900)
    expect(Math.abs(iat - Date.now() / 1000)).toBeLessThan(30)
    expect(payload.iid).toBe((await agentStatus(instance)).identity?.iid)
  })

  test('is refused by jose for another audience, and by the key of another instance', async () => {
    const { body } = await asked(AUDIENCE)
    const key = await importJWK({ ...known.sk.jwk }, 'ES256')
    const options = { audience: 'https://another.example' }
    await expect(jwtVerify(body, key, options)).rejects.toThrow(/"aud"/)

    await using other = new AsyncDisposableStack()
    const { path } = other.use(await scratch())
    const instanceId = known.instanceId
    const thief = await startInstance(path, { certified: true, instanceId })
    other.defer(() => thief.stop())
    const otherKey = await importJWK({ ...(await evidenceOf(thief)).sk.jwk }, 'ES256')
    await expect(jwtVerify(body, otherKey)).rejects.toThrow(/signature/)
  })

  test('is accepted by metabind/verify', async () => {
    const { body } = await asked(AUDIENCE)
    const { jwk: sk } = known.sk
    const expected = { sk, audience: AUDIENCE, instanceId: known.instanceId, iid: known.iid }
    expect(verifyIdentityToken(body, { ...expected, now: new Date() }).aud).toBe(AUDIENCE)
    const later = new Date(Date.now() + 901_000)
    expect(() => verifyIdentityToken(body, { ...expected, now: later })).toThrow(/expired/)
  })

  test('has an id of its own', async () => {
    const claims = async () => {
      const [, payload = ''] = (await asked(AUDIENCE)).body.split('.')
      return JSON.parse(Buffer.from(payload, 'base64url').toString())
    }
    const ids = new Set((await Promise.all([claims(), claims(), claims()])).map(({ jti }) => jti))
    expect(ids.size).toBe(3)
  })

  test('comes from the command line', async () => {
    const { code, stdout } = await metabind(instance, ['identity', '--audience', AUDIENCE])
    expect(code).toBe(0)
    const key = await importJWK({ ...known.sk.jwk }, 'ES256')
    await jwtVerify(stdout.trim(), key, { audience: AUDIENCE })
    for (const args of [[], ['--audience', ''], ['--audience', 'two words']]) {
      expect((await metabind(instance, ['identity', ...args])).code).toBe(2)
    }
  })

  test('is verified by the ten lines of docs/identity.md', async () => {
    const page = await readFile(new URL('../../docs/identity.md', import.meta.url), 'utf8')
    const service = /```js\n(.*?)```/s.exec(page)?.[1]
    if (service === undefined) throw new Error('no example')
    expect(service.trim().split('\n').length).toBeLessThanOrEqual(10)
    const sk = JSON.stringify(known.sk.jwk)
    const { body } = await asked(AUDIENCE)
    const run = (jwt: string) =>
      execFileSync(process.execPath, ['--input-type=module', '-e', service], {
        encoding: 'utf8',
        stdio: 'pipe',
        timeout: 240_000,
        env: { ...process.env, SK: sk, IID: known.iid, INSTANCE: known.instanceId, TOKEN: jwt },
      })
    expect(run(body)).toContain(known.instanceId)
    const forged = body.replace(/.{6}$/, 'AAAAAA')
    expect(() => run(forged)).toThrow()
  })
})

describe('the audience', () => {
  test.each([
    'a',
    'a'.repeat(256),
    'https://service.example/path?with=query&and#fragment',
    'urn:x:y+z%20',
    '"quoted"\\',
  ])('%s comes back as it was', async (audience) => {
    const { status, body } = await asked(audience)
    expect(status).toBe(200)
    const [, payload = ''] = body.split('.')
    expect(JSON.parse(Buffer.from(payload, 'base64url').toString()).aud).toBe(audience)
  })

  test.each([
    '',
    '?audience=',
    '?audience',
    '?other=a',
    '?audience=a&audience=b',
    '?audience=a&x=y',
    '?x=y&audience=a',
    '?audience=%zz',
    '?audience=%00',
    '?audience=two%20words',
    '?audience=%C3%A9',
    `?audience=${'a'.repeat(257)}`,
    `?audience=${'%61'.repeat(257)}`,
  ])('is refused: %s', async (query) => {
    expect(refusal(await ask(query))).toBe('400 REQUEST_QUERY')
  })
})

describe('a request', () => {
  const query = `?audience=${encodeURIComponent(AUDIENCE)}`

  test('needs a session token', async () => {
    expect(refusal(await ask(query, 'GET', []))).toBe('403 TOKEN_MISSING')
    const forged = token.replace(/.{6}$/, 'AAAAAA')
    const answered = await ask(query, 'GET', [TOKEN_HEADER, forged])
    expect(refusal(answered)).toBe('401 TOKEN_INVALID')
  })

  test.each(['PUT', 'POST', 'DELETE'])('%s is not allowed', async (method) => {
    const answered = await ask(query, method)
    expect(refusal(answered)).toBe('405 REQUEST_METHOD')
    expect(answered.headers.allow).toBe('GET, HEAD')
  })

  test('HEAD has the headers and no token', async () => {
    const answered = await ask(query, 'HEAD')
    expect(answered.status).toBe(200)
    expect(answered.headers['content-type']).toBe('application/jwt')
    expect(answered.body).toBe('')
  })

  test('that was forwarded is refused', async () => {
    const headers = [TOKEN_HEADER, token, 'X-Forwarded-For', '']
    expect(refusal(await ask(query, 'GET', headers))).toBe('403 REQUEST_FORWARDED')
  })

  test('leaves an audit record with the audience, and no token in the log', async () => {
    const { body } = await asked('https://audited.example')
    const record = await instance.agent.until(
      ({ msg, detail }) => msg === 'identity.issued' && detail === 'https://audited.example',
    )
    expect(record).toMatchObject({ audit: true, caller: { uid: process.getuid?.() } })
    expect(instance.agent.output()).not.toContain(body)
  })
})

test('200 at once: some wait and are served, the others are told to come back, none hangs', async () => {
  // The TPM signs nothing until some were refused: however fast it is, they are there at once.
  instance.tpm.pause()
  let refusals = 0
  const asking = Array.from({ length: 200 }, async () => {
    const answered = await asked(AUDIENCE)
    if (answered.status !== 200) refusals += 1
    return answered
  })
  try {
    await expect.poll(() => refusals).toBeGreaterThan(100)
  } finally {
    instance.tpm.resume()
  }
  const all = await Promise.all(asking)
  const served = all.filter(({ status }) => status === 200)
  const refused = all.filter(({ status }) => status !== 200)
  expect(served.length).toBeGreaterThan(0)
  for (const answered of refused) {
    expect(refusal(answered)).toBe('503 LIMIT_SIGNATURES')
    expect(answered.headers['retry-after']).toBe('1')
  }
  const key = await importJWK({ ...known.sk.jwk }, 'ES256')
  for (const { body } of served) await jwtVerify(body, key, { audience: AUDIENCE })
  expect((await asked(AUDIENCE)).status).toBe(200)
})

test('a lifetime of more than an hour cannot be configured', async () => {
  const { path } = stack.use(await scratch())
  const started = startInstance(path, { config: '[identity]\nlifetime_seconds = 3601\n' })
  await expect(started).rejects.toThrow(/lifetime_seconds/)
})
