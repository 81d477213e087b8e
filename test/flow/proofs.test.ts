import { createHash, randomBytes } from 'node:crypto'
import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { calculateJwkThumbprint, decodeProtectedHeader, importJWK, jwtVerify } from 'jose'
import { openClient } from 'metabind/client'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import {
  type PublicJwk,
  verifyDpopProof,
  verifyEvidence,
  verifyWorkloadProof,
} from '../../src/verify/index.ts'
import { call, refusal, TOKEN_HEADER } from '../harness/http.ts'
import { type Instance, type InstanceOptions, startInstance } from '../harness/instance.ts'
import { metabind, newToken, scratch } from '../harness/metabind.ts'
import { type ProofService, proofService } from '../harness/proof-service.ts'
import { openRaw } from '../harness/raw-http.ts'

/** Proofs of a real agent, checked by oauth4webapi and jose, and by metabind/verify. */

vi.setConfig({ testTimeout: 60_000 })

/** More than the other tests need. */
const BURST = 60
const UID = process.getuid?.() ?? 0
const POLICY = `[[rule]]
name = "not this one"
effect = "deny"
proofs = ["https://api.example/admin/**"]

[[rule]]
name = "orders"
effect = "allow"
users = [${UID}]
proofs = ["https://api.example/**", "http://plain.example/**"]

[[rule]]
effect = "allow"
users = [${UID}]
proofs = ["https://reads.example/**"]
methods = ["GET"]

[[rule]]
effect = "allow"
users = [${UID + 1}]
proofs = ["https://others.example/**"]

[[rule]]
effect = "allow"
users = [${UID}]
paths = ["/**"]
`
const URL_ASKED = 'https://api.example/orders'

let stack: AsyncDisposableStack
let instance: Instance
let token: string
let service: ProofService
/** Of verified evidence, as a service elsewhere has it. */
let jwk: PublicJwk

beforeAll(async () => {
  stack = new AsyncDisposableStack()
  const { path } = stack.use(await scratch())
  instance = await started(path)
  token = await newToken(instance)
  service = await proofService()
  jwk = await keyOf(instance)
})
afterAll(() => stack.disposeAsync())

async function started(path: string, options: InstanceOptions = {}): Promise<Instance> {
  const policy = join(path, 'policy.toml')
  await writeFile(policy, POLICY, { mode: 0o600 })
  const config = `policy.file = ${JSON.stringify(policy)}
limits.proof_burst = ${BURST}
limits.proofs_per_second = 0.01
`
  const made = await startInstance(path, { certified: true, ...options, config })
  stack.defer(() => made.stop())
  return made
}

interface Asked {
  readonly headers?: readonly string[]
  readonly path?: string
  readonly of?: Instance
}

function post(body: object | string | undefined, { headers, path, of = instance }: Asked = {}) {
  return call(of.metadataSocket, {
    method: 'POST',
    path: path ?? '/metabind/v1/proof',
    headers: headers ?? [TOKEN_HEADER, token],
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
}

const dpop = (more: object = {}) => ({ kind: 'dpop', method: 'GET', url: URL_ASKED, ...more })
const sha256 = (text: string) => createHash('sha256').update(text).digest('base64url')

async function proofOf(body: object, asked: Asked = {}): Promise<string> {
  const answered = await post(body, asked)
  expect([answered.status, answered.headers['content-type']]).toEqual([200, 'application/jwt'])
  expect(answered.headers['cache-control']).toBe('no-store')
  return answered.body
}

async function keyOf(of: Instance) {
  const nonce = randomBytes(32)
  const { stdout } = await metabind(of, ['evidence', '--nonce', nonce.toString('hex')])
  const file = (name: string) => readFile(join(of.directory, name))
  const names = ['anchors/issuercert.pem', 'anchors/swtpm-localca-rootca-cert.pem']
  const { sk } = verifyEvidence(Buffer.from(stdout), {
    ...{ nonce, now: new Date(), allowProvisional: true },
    trust: {
      ekAnchors: await Promise.all(names.map(file)),
      identityCertificate: await file('cloud.pem'),
    },
  })
  return sk.jwk
}

describe('a DPoP proof', () => {
  test('is by the key of verified evidence, and accepted by a service with its token', async () => {
    const accessToken = await service.tokenFor(await calculateJwkThumbprint({ ...jwk }))
    const proof = await proofOf(dpop({ access_token: accessToken, url: `${URL_ASKED}?page=2` }))
    expect(decodeProtectedHeader(proof)).toEqual({ typ: 'dpop+jwt', alg: 'ES256', jwk })
    const asked = { path: '/orders?page=2', token: accessToken, proof }
    expect(await service.ask(asked)).toBe('accepted')
    expect(await service.ask(asked)).toBe('used before')
    const other = await proofOf(dpop({ ath: sha256(accessToken) }))
    expect(await service.ask({ token: accessToken, proof: other })).toBe('accepted')
  })

  test('is refused by the service for another method, path or token', async () => {
    const jkt = await calculateJwkThumbprint({ ...jwk })
    const accessToken = await service.tokenFor(jkt)
    const proof = await proofOf(dpop({ access_token: accessToken }))
    expect(await service.ask({ method: 'POST', token: accessToken, proof })).toMatch(/htm/)
    expect(await service.ask({ path: '/other', token: accessToken, proof })).toMatch(/htu/)
    expect(await service.ask({ token: await service.tokenFor(jkt), proof })).toMatch(/ath/)
  })

  test('says what metabind/verify checks, with the nonce that was asked for', async () => {
    const proof = await proofOf(dpop({ nonce: 'of-the-service' }))
    const found = verifyDpopProof(proof, {
      ...{ method: 'GET', url: URL_ASKED, now: new Date(), nonces: ['of-the-service'] },
    })
    expect(found.jwk).toEqual(jwk)
    const { payload } = await jwtVerify(proof, await importJWK({ ...found.jwk }, 'ES256'), {
      typ: 'dpop+jwt',
    })
    expect(Object.keys(payload).toSorted()).toEqual(['htm', 'htu', 'iat', 'jti', 'nonce'])
  })
})

describe('from the command line and the library', () => {
  const asked = { method: 'GET', url: `${URL_ASKED}?a`, now: new Date() }
  const run = (args: readonly string[], stdin = '') =>
    metabind(instance, ['proof', ...args], { stdin })

  test('comes a proof for a request and its token, which is not told to the agent', async () => {
    const args = ['--method', 'GET', '--url', asked.url]
    const accessToken = await service.tokenFor(await calculateJwkThumbprint({ ...jwk }))
    for (const more of [
      ['--access-token-file', '-'],
      ['--ath', sha256(accessToken)],
    ]) {
      const { code, stdout } = await run([...args, ...more], `${accessToken}\n`)
      expect(code).toBe(0)
      const proof = stdout.trim()
      expect(await service.ask({ path: '/orders?a', token: accessToken, proof })).toBe('accepted')
    }
    const client = openClient({ socket: instance.metadataSocket })
    const proof = (await client.proof({ ...asked, accessToken })).reveal()
    expect(await service.ask({ path: '/orders?a', token: accessToken, proof })).toBe('accepted')
  })

  test('comes a Workload Proof Token', async () => {
    const wpt = ['--kind', 'wpt', '--url', URL_ASKED, '--json']
    const { stdout } = await run([...wpt, '--identity-token-file', '-'], 'a.b.c')
    const client = openClient({ socket: instance.metadataSocket })
    const made = await client.proof({ kind: 'wpt', url: URL_ASKED, identityToken: 'a.b.c' })
    for (const proof of [JSON.parse(stdout).proof, made.reveal()]) {
      const expected = { identityToken: 'a.b.c', jwk, audience: URL_ASKED, now: new Date() }
      expect(verifyWorkloadProof(proof, expected).claims.aud).toBe(URL_ASKED)
    }
  })

  test('comes why somebody has none', async () => {
    const { code, stderr } = await run(['--method', 'GET', '--url', 'https://elsewhere.example/'])
    expect([code, stderr]).toEqual([1, expect.stringContaining('PROOF_DENIED')])
    const explain = (...args: string[]) => metabind(instance, ['explain', ...args])
    const denied = await explain('https://api.example/admin/keys')
    expect([denied.code, denied.stdout]).toEqual([
      3,
      'a proof for any method https://api.example/admin/keys: refused: rule 1 (not this one) denies it\n',
    ])
    const other = await explain(String(UID + 1), 'https://others.example/', '--method', 'GET')
    expect([other.code, other.stdout.split('\n')[1]]).toEqual([
      0,
      'rule 1 (not this one) is not about it: proofs',
    ])
  })

  test.each([
    [['--url', URL_ASKED], '--method'],
    [['--method', 'GET'], '--url'],
    [['--method', 'GET', '--url', URL_ASKED, '--ath', 'short'], '--ath'],
    [['--method', 'GET', '--url', URL_ASKED, '--wth', 'x'], '--wth'],
    [['--kind', 'jwt', '--url', URL_ASKED], '--kind'],
    [['--kind', 'wpt', '--url', URL_ASKED], '--identity-token-file'],
    [['--kind', 'wpt', '--url', URL_ASKED, '--method', 'GET'], '--method'],
  ])('%j is wrong use', async (args, named) => {
    const { code, stderr } = await run(args)
    expect([code, stderr]).toEqual([2, expect.stringContaining(named)])
  })
})

test('a Workload Proof Token is for its identity token, and accepted by jose and metabind/verify', async () => {
  const proof = await proofOf({
    ...{ kind: 'wpt', url: URL_ASKED, identity_token: 'a.b.c', access_token: 'token' },
  })
  const { payload, protectedHeader } = await jwtVerify(
    proof,
    await importJWK({ ...jwk }, 'ES256'),
    {
      ...{ typ: 'wpt+jwt', audience: URL_ASKED, requiredClaims: ['exp', 'jti'] },
    },
  )
  expect(protectedHeader).toEqual({ typ: 'wpt+jwt', alg: 'ES256' })
  expect(payload).toMatchObject({ wth: sha256('a.b.c'), ath: sha256('token') })
  const expected = { identityToken: 'a.b.c', jwk, audience: URL_ASKED, accessToken: 'token' }
  expect(verifyWorkloadProof(proof, { ...expected, now: new Date() }).jti).toBe(payload.jti)
})

describe('copied to another instance: token, disk and the memory of the application', () => {
  test('a token that is bound to the key is refused from there', async () => {
    const jkt = await calculateJwkThumbprint({ ...jwk })
    const accessToken = await service.tokenFor(jkt)
    const usedProof = await proofOf(dpop({ access_token: accessToken }))
    expect(await service.ask({ token: accessToken, proof: usedProof })).toBe('accepted')

    const { path } = stack.use(await scratch())
    for (const folder of ['state', 'run']) {
      const filter = (name: string) => !/lock$|\.sock$/.test(name)
      await cp(join(instance.directory, folder), join(path, folder), { recursive: true, filter })
    }
    const thief = await started(path, { instanceId: instance.cloud?.instanceId })
    // What the application had in its memory: its session token, its access token and the proofs that it used.
    expect(refusal(await post(dpop(), { of: thief }))).toBe('401 TOKEN_INVALID')
    expect(await service.ask({ token: accessToken, proof: usedProof })).toBe('used before')
    const own = [TOKEN_HEADER, await newToken(thief)]
    const proof = await proofOf(dpop({ access_token: accessToken }), { of: thief, headers: own })
    expect(await service.ask({ token: accessToken, proof })).toMatch(/confirmation mismatch/)
    const still = await proofOf(dpop({ access_token: accessToken }))
    expect(await service.ask({ token: accessToken, proof: still })).toBe('accepted')
  })
})

describe('who may have one', () => {
  test.each([
    ['denied by a rule', dpop({ url: 'https://api.example/admin/keys' })],
    ['the same, with a slash at its end', dpop({ url: 'https://api.example/admin/' })],
    ['named by no rule', dpop({ url: 'https://elsewhere.example/' })],
    ['over plain HTTP where the rule says https', dpop({ url: 'http://api.example/orders' })],
    ['on another port', dpop({ url: 'https://api.example:8443/orders' })],
    ['for another method', dpop({ url: 'https://reads.example/', method: 'POST' })],
    ['for all methods', { kind: 'wpt', url: 'https://reads.example/', wth: sha256('a') }],
    ["in another user's rule", dpop({ url: 'https://others.example/' })],
  ])('nobody: %s', async (_, body) => {
    expect(refusal(await post(body))).toBe('403 PROOF_DENIED')
  })

  test.each([
    ['plain HTTP that a rule names', dpop({ url: 'http://plain.example/' })],
    ['the method that a rule names', dpop({ url: 'https://reads.example/' })],
  ])('whom a rule lets: %s', async (_, body) => {
    await proofOf(body)
  })

  test('leaves a record, of refusals too, and no token in it', async () => {
    await proofOf(dpop({ url: 'https://api.example/recorded', access_token: 'unmistakable' }))
    await post(dpop({ url: 'https://api.example/admin/recorded' }))
    const signed = await instance.agent.until(
      ({ event, msg, detail }) =>
        (event ?? msg) === 'proof.signed' && String(detail).endsWith('/recorded'),
    )
    expect(signed).toMatchObject({
      ...{ audit: true, caller: { uid: UID }, rule: 2, path: '/metabind/v1/proof' },
      detail: 'dpop GET https://api.example/recorded',
    })
    const refused = await instance.agent.until(({ code }) => code === 'PROOF_DENIED')
    expect(refused).toMatchObject({ msg: 'policy.refused', caller: { uid: UID } })
    expect(instance.agent.output()).not.toContain('unmistakable')
  })

  test('can be asked for oneself', async () => {
    const ask = async (body: object) =>
      JSON.parse((await post(body, { path: '/metabind/v1/explain-proof' })).body)
    expect(await ask({ url: `${URL_ASKED}?a=b`, method: 'GET' })).toEqual({
      ...{ allowed: true, rule: 2, why: 'rule 2 (orders) allows it' },
      ...{ url: URL_ASKED, method: 'GET' },
    })
    expect(await ask({ url: 'https://reads.example/' })).toMatchObject({ allowed: false })
  })
})

describe('a request', () => {
  test('needs a session token that is good', async () => {
    expect(refusal(await post(dpop(), { headers: [] }))).toBe('403 TOKEN_MISSING')
    const headers = [TOKEN_HEADER, token.replace(/.{6}$/, 'AAAAAA')]
    expect(refusal(await post(dpop(), { headers }))).toBe('401 TOKEN_INVALID')
    const revoked = await newToken(instance)
    await metabind(instance, ['revoke', '-'], { stdin: revoked })
    const answered = await post(dpop(), { headers: [TOKEN_HEADER, revoked] })
    expect(refusal(answered)).toBe('401 TOKEN_INVALID')
  })

  test.each([
    ['forwarded', ['X-Forwarded-For', '1.2.3.4'], '403 REQUEST_FORWARDED'],
    ['of a web page', ['Origin', 'https://page.example'], '403 REQUEST_BROWSER'],
    ['with two tokens', [TOKEN_HEADER, 'x'], '400 REQUEST_HEADERS'],
    ['with two hosts', ['Host', 'x'], '400 REQUEST_HEADERS'],
  ])('that is %s is refused', async (_, more, said) => {
    expect(refusal(await post(dpop(), { headers: [TOKEN_HEADER, token, ...more] }))).toBe(said)
  })

  test.each([
    ['no body', undefined, '400 PROOF_REQUEST'],
    ['no JSON', 'kind=dpop', '400 PROOF_REQUEST'],
    [
      'a member twice',
      JSON.stringify(dpop()).replace('{', '{"url":"https://x/",'),
      '400 PROOF_REQUEST',
    ],
    ['another member', dpop({ iat: 1 }), '400 PROOF_REQUEST'],
    ['a header within', dpop({ nonce: 'a\r\nDPoP: b' }), '400 PROOF_REQUEST'],
    ['a URL with a user', dpop({ url: 'https://a@api.example/' }), '400 PROOF_URL'],
    ['a URL with dots', dpop({ url: 'https://api.example/a/../admin' }), '400 PROOF_URL'],
    ['more than 8 KiB', dpop({ access_token: 'a'.repeat(8192) }), '413 REQUEST_BODY'],
  ])('with %s is refused', async (_, body, said) => {
    expect(refusal(await post(body))).toBe(said)
  })

  test.each(['GET', 'HEAD', 'PUT', 'DELETE'])('%s is not allowed', async (method) => {
    const headers = [TOKEN_HEADER, token]
    const answered = await call(instance.metadataSocket, {
      ...{ method, path: '/metabind/v1/proof', headers },
    })
    expect([answered.status, answered.headers.allow]).toEqual([405, 'POST'])
  })

  test('with a query, or on a path in another form, is refused', async () => {
    const asked = (path: string) => post(dpop(), { path })
    expect(refusal(await asked('/metabind/v1/proof?url=x'))).toBe('400 REQUEST_QUERY')
    // Another path to fastify, which reads no body there.
    expect(refusal(await asked('/metabind/v1//proof'))).toBe('400 PROOF_REQUEST')
    expect(refusal(await asked('/metabind/v1/proof/'))).toBe('400 PROOF_REQUEST')
  })

  test('takes a body in chunks, and nothing that is smuggled behind it', async () => {
    const body = JSON.stringify(dpop())
    const head = ['POST /metabind/v1/proof HTTP/1.1', 'Host: x', `${TOKEN_HEADER}: ${token}`]
    const send = async (lines: readonly string[], text: string) => {
      const raw = await openRaw(instance.metadataSocket)
      raw.write(`${[...head, ...lines].join('\r\n')}\r\n\r\n${text}`)
      const { status } = await raw.answer()
      return { raw, status }
    }
    const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
    const whole = await send(['Transfer-Encoding: chunked'], chunked)
    expect(whole.status).toBe(200)
    whole.raw.destroy()
    const length = `Content-Length: ${body.length}`
    for (const [lines, text] of [
      [['Transfer-Encoding: chunked', length], chunked + body],
      [[length, `Content-Length: ${body.length + 9}`], body],
      [['Transfer-Encoding: chunked, identity'], chunked],
    ] as const) {
      const { raw, status } = await send(lines, text)
      expect(status).toBe(400)
      expect([await raw.closed(), raw.statusLines()]).toEqual([true, 1])
    }
  })

  test('is counted, and limited for each user', async () => {
    const flood = () => post(dpop({ url: 'https://api.example/flood' }))
    const answers = []
    for (let at = 0; at < BURST; at += 1) answers.push(await flood())
    const last = answers.at(-1)
    expect(last && refusal(last)).toBe('429 LIMIT_RATE')
    expect(Number(last?.headers['retry-after'])).toBeGreaterThan(1)
    const { body } = await call(instance.adminSocket, { path: '/metabind/v1/metrics' })
    expect(body).toMatch(/metabind_limit_refusals_total\{kind="proof"\} [1-9]/)
  })
})
