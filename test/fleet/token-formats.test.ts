import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { calculateJwkThumbprint, createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { scratch } from '../harness/metabind.ts'
import { type RegistrarProcess, startRegistrarProcess } from './registrar-process.ts'
import { ADMITS_SOFTWARE, enrolledSoftware } from './software-enrolled.ts'
import { identityTokenOfSoftware, type SoftwareInstance } from './software-instance.ts'

/** Tokens of all formats from a registrar that serves, over HTTP; and the files that it leaves behind. */

const TABLES = `${ADMITS_SOFTWARE}[spiffe]
trust_domain = "fleet.example"
[[audience]]
name = "api.example"
algorithm = "ES256"
formats = ["access_token", "jwt_svid", "wit"]
`
const stack = new AsyncDisposableStack()
let published: string
let registrar: RegistrarProcess
let instance: SoftwareInstance
beforeAll(async () => {
  const directory = stack.use(await scratch()).path
  published = join(directory, 'public')
  await mkdir(published)
  const tables = `${TABLES}[publish]\ndirectory = "${published}"\n`
  registrar = await startRegistrarProcess(join(directory, 'registrar'), tables)
  stack.defer(() => registrar.end())
  instance = await enrolledSoftware(registrar, 'i-one')
})
afterAll(() => stack.disposeAsync())

const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A DPoP proof by the instance's SK. */
function proof(nonce?: string, more: Readonly<Record<string, string>> = {}): string {
  const header = { typ: 'dpop+jwt', alg: 'ES256', jwk: instance.tpm.skJwk }
  const claims = {
    ...{ jti: randomBytes(12).toString('hex'), htm: 'POST', htu: `${registrar.url}/token` },
    ...{ iat: Math.floor(Date.now() / 1000), nonce, ...more },
  }
  const input = `${part(header)}.${part(claims)}`
  return `${input}.${instance.tpm.signWithSk(input)}`
}

const answerSchema = z.looseObject({ access_token: z.string().default('') })

/** node:http, as fetch joins two headers of one name into one. */
async function ask(format: string, proofs: readonly string[] = []) {
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: identityTokenOfSoftware(instance, registrar.url),
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    ...{ audience: 'api.example', format },
  })
  const headers = ['content-type', 'application/x-www-form-urlencoded', 'host', 'registrar.example']
  for (const one of proofs) headers.push('dpop', one)
  const { promise, resolve, reject } = Promise.withResolvers<import('node:http').IncomingMessage>()
  const asked = request(`${registrar.origin}/token`, { method: 'POST', headers }, resolve)
  asked.on('error', reject).end(form.toString())
  const answer = await promise
  const body = answerSchema.parse(JSON.parse(await text(answer)))
  return { status: answer.statusCode, nonce: String(answer.headers['dpop-nonce']), body }
}

const read = async (path: string) =>
  z.looseObject({}).parse(JSON.parse(await readFile(join(published, path), 'utf8')))
const keysOf = async (path: string) => {
  const { keys } = await read(path)
  return createLocalJWKSet({ keys: z.array(z.looseObject({ kty: z.string() })).parse(keys) })
}

describe('an access token', () => {
  test('is bound to SK by a proof with the nonce that the refusal gave', async () => {
    const without = await ask('access_token')
    expect(without).toMatchObject({ status: 400, body: { error: 'invalid_dpop_proof' } })
    const first = await ask('access_token', [proof()])
    expect(first).toMatchObject({ status: 400, body: { error: 'use_dpop_nonce' } })
    const given = await ask('access_token', [proof(first.nonce)])
    expect(given).toMatchObject({ status: 200, body: { token_type: 'DPoP' } })
    expect(given.nonce).not.toBe('undefined')
    const options = { issuer: registrar.url, audience: 'api.example', typ: 'at+jwt' }
    const keys = await keysOf('jwks.json')
    const { payload } = await jwtVerify(given.body.access_token, keys, options)
    expect(payload.cnf).toEqual({ jkt: await calculateJwkThumbprint(instance.tpm.skJwk) })
  })

  test('is taken by oauth4webapi, which finds the keys by RFC 8414, with a proof by SK and not without', async () => {
    const throughProxy = (url: string) => fetch(url.replace(registrar.url, registrar.origin))
    const options = { [oauth.customFetch]: throughProxy }
    const issuer = new URL(registrar.url)
    const asked = { ...options, algorithm: 'oauth2' as const }
    const server = await oauth.processDiscoveryResponse(
      issuer,
      await oauth.discoveryRequest(issuer, asked),
    )
    expect(server.dpop_signing_alg_values_supported).toEqual(['ES256'])
    const { nonce } = await ask('access_token')
    const { body } = await ask('access_token', [proof(nonce)])
    const token = body.access_token
    const ath = createHash('sha256').update(token).digest('base64url')
    const url = 'https://api.example/orders'
    const taken = (headers: Readonly<Record<string, string>>) =>
      oauth.validateJwtAccessToken(server, new Request(url, { headers }), 'api.example', options)
    const dpop = proof(undefined, { htm: 'GET', htu: url, ath })
    const claims = await taken({ authorization: `DPoP ${token}`, dpop })
    expect(claims.sub).toBe('aliyun:i-one')
    await expect(taken({ authorization: `DPoP ${token}` })).rejects.toThrow(/dpop/i)
    await expect(taken({ authorization: `Bearer ${token}` })).rejects.toThrow(/dpop/i)
  })

  test('is not given for two proofs, nor for one proof twice', async () => {
    const { nonce } = await ask('access_token')
    const refused = { status: 400, body: { error: 'invalid_dpop_proof' } }
    expect(await ask('access_token', [proof(nonce), proof(nonce)])).toMatchObject(refused)
    const once = proof(nonce)
    expect((await ask('access_token', [once])).status).toBe(200)
    expect(await ask('access_token', [once])).toMatchObject({
      ...refused,
      body: { error_description: expect.stringMatching(/^REGISTRAR_DPOP_REPLAY: /) },
    })
  })
})

test('a JWT-SVID and a WIT are verified by the files alone', async () => {
  const sub = 'spiffe://fleet.example/aliyun/i-one'
  const { body: svid } = await ask('jwt_svid')
  const options = { subject: sub, issuer: registrar.url, audience: 'api.example' }
  await jwtVerify(svid.access_token, await keysOf('jwks.json'), options)
  const { kid } = decodeProtectedHeader(svid.access_token)
  expect((await read('spiffe/bundle.json')).keys).toContainEqual(
    expect.objectContaining({ kid, use: 'jwt-svid' }),
  )

  const { body: wit } = await ask('wit')
  const server = await read('.well-known/oauth-authorization-server/wit')
  const path = String(server.jwks_uri).slice(registrar.url.length)
  const { payload } = await jwtVerify(wit.access_token, await keysOf(path), {
    ...{ subject: sub, issuer: String(server.issuer), typ: 'wit+jwt' },
  })
  expect(payload.cnf).toEqual({ jwk: { ...instance.tpm.skJwk, alg: 'ES256' } })
})

test('everything that verifiers read is served with its type and for how long it may be kept, and is a file if verifiers need it', async () => {
  const json = ['application/json; charset=utf-8', 'public, max-age=3600']
  const paths: Readonly<Record<string, readonly string[]>> = {
    '.well-known/openid-configuration': json,
    '.well-known/oauth-authorization-server': json,
    '.well-known/oauth-authorization-server/wit': json,
    'jwks.json': json,
    'wit/jwks.json': json,
    'spiffe/bundle.json': json,
    'status-list': ['application/statuslist+jwt', 'public, max-age=60'],
  }
  for (const [path, [type, kept]] of Object.entries(paths)) {
    const served = await fetch(`${registrar.origin}/${path}`)
    expect(served.status).toBe(200)
    const headers = ['content-type', 'cache-control'].map((name) => served.headers.get(name))
    expect([path, ...headers]).toEqual([path, type, kept])
    const body = (await served.text()).replaceAll(/\s/g, '')
    // RFC 8414, 3.2: a member without elements is left out.
    expect([path, body]).toEqual([path, expect.not.stringContaining('[]')])
    if (path === '.well-known/oauth-authorization-server') continue
    const file = await readFile(join(published, path), 'utf8')
    expect(file.replaceAll(/\s/g, '')).toBe(body)
  }
})
