import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createLocalJWKSet, createRemoteJWKSet, customFetch, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { type Instance, startInstance } from '../harness/instance.ts'
import { metabind, scratch } from '../harness/metabind.ts'
import { enrol } from './enrolling.ts'
import { pythonVerdict } from './python-verifier.ts'
import { type RegistrarProcess, startRegistrarProcess, trustOf } from './registrar-process.ts'

/** A token from the SK of an agent to verifiers that are not ours. */

const AUDIENCES = `[[audience]]
name = "sts.example"
[[audience]]
name = "es.example"
algorithm = "ES256"
lifetime_seconds = 300
`

const stack = new AsyncDisposableStack()
let directory: string
let instance: Instance
let registrar: RegistrarProcess
beforeAll(async () => {
  directory = stack.use(await scratch()).path
  const at = join(directory, 'one')
  instance = await startInstance(at, { certified: true })
  stack.defer(() => instance.stop())
  await mkdir(join(directory, 'public'))
  const publish = `[publish]\ndirectory = "${join(directory, 'public')}"\n`
  const more = `${await trustOf(at)}${AUDIENCES}${publish}`
  registrar = await startRegistrarProcess(join(directory, 'registrar'), more)
  stack.defer(() => registrar.end())
  expect((await enrol(instance, registrar)).status).toBe(200)
})
afterAll(() => stack.disposeAsync())

async function identityToken(audience = registrar.url): Promise<string> {
  const { stdout } = await metabind(instance, ['identity', '--audience', audience])
  return stdout.trim()
}

const answerSchema = z.looseObject({ access_token: z.string().default('') })
const PREFIX = 'urn:ietf:params:oauth:token-type:'

async function exchange(subject: string, audience = 'sts.example') {
  const body = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: subject,
    subject_token_type: `${PREFIX}jwt`,
    audience,
  })
  const response = await fetch(`${registrar.origin}/token`, { method: 'POST', body })
  const said: unknown = await response.json()
  return { status: response.status, headers: response.headers, body: answerSchema.parse(said) }
}

/** The registrar's own name leads to it, as through the proxy before it. */
const throughProxy = (url: string, init?: RequestInit) =>
  fetch(url.replace(registrar.url, registrar.origin), init)

async function discovered(): Promise<Record<string, unknown>> {
  const answer = await throughProxy(`${registrar.url}/.well-known/openid-configuration`)
  expect(answer.headers.get('content-type')).toMatch(/^application\/json/)
  return z.looseObject({}).parse(await answer.json())
}

test.each([
  ['sts.example', 'RS256', 900],
  ['es.example', 'ES256', 300],
])('%s: jose and PyJWT take it by discovery alone (%s)', async (audience, algorithm, lifetime) => {
  const { status, headers, body } = await exchange(await identityToken(), audience)
  expect(status).toBe(200)
  expect(headers.get('cache-control')).toBe('no-store')
  expect(body).toMatchObject({ issued_token_type: `${PREFIX}id_token`, expires_in: lifetime })
  const configuration = await discovered()
  expect(configuration.issuer).toBe(registrar.url)
  const keys = createRemoteJWKSet(new URL(String(configuration.jwks_uri)), {
    [customFetch]: throughProxy,
  })
  const options = { issuer: registrar.url, audience, algorithms: [algorithm] }
  const { payload } = await jwtVerify(body.access_token, keys, options)
  expect(payload.sub).toMatch(/^aliyun:i-/)

  const jwks = `${registrar.origin}/jwks.json`
  const asked = { token: body.access_token, jwks, algorithm, issuer: registrar.url, audience }
  expect(await pythonVerdict(asked)).toMatchObject({ sub: payload.sub, iid: payload.iid })
  expect(await pythonVerdict({ ...asked, audience: 'other.example' })).toBe('InvalidAudienceError')
})

test('discovery has what OpenID Connect and RFC 8414 require, and names only what is there', async () => {
  const configuration = await discovered()
  expect(configuration).toMatchObject({
    issuer: registrar.url,
    response_types_supported: ['id_token'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256', 'ES256'],
  })
  const server = await throughProxy(`${registrar.url}/.well-known/oauth-authorization-server`)
  expect(await server.json()).toMatchObject({
    issuer: registrar.url,
    response_types_supported: ['none'],
    token_endpoint: configuration.token_endpoint,
    jwks_uri: configuration.jwks_uri,
  })
  for (const name of ['token_endpoint', 'jwks_uri']) {
    const method = name === 'token_endpoint' ? 'POST' : 'GET'
    expect((await throughProxy(String(configuration[name]), { method })).status).not.toBe(404)
  }
})

describe('refused', () => {
  test('an identity token twice, for somebody else, or of nobody', async () => {
    const subject = await identityToken()
    expect((await exchange(subject)).status).toBe(200)
    const refused = async (answer: Promise<{ status: number; body: unknown }>) => {
      const { status, body } = await answer
      expect(status).toBe(400)
      return body
    }
    expect(await refused(exchange(subject))).toMatchObject({
      error: 'invalid_request',
      error_description: expect.stringMatching(/^REGISTRAR_USED: /),
    })
    expect(await refused(exchange(await identityToken('https://elsewhere.example')))).toMatchObject(
      {
        error_description: expect.stringMatching(/^VERIFY_TOKEN_CLAIMS: /),
      },
    )
    expect(await refused(exchange('none'))).toMatchObject({ error: 'invalid_request' })
    expect(await refused(exchange(await identityToken(), 'other.example'))).toMatchObject({
      error: 'invalid_target',
    })
  })
})

test('verifiers outlive the registrar: what it wrote as files is enough', async () => {
  const { body } = await exchange(await identityToken())
  const read = async (path: string) =>
    JSON.parse(await readFile(join(directory, 'public', path), 'utf8'))
  const served = await discovered()
  await registrar.end('SIGKILL')
  const configuration = await read('.well-known/openid-configuration')
  expect(configuration).toEqual(served)
  const path = String(configuration.jwks_uri).slice(registrar.url.length)
  const keys = createLocalJWKSet(await read(path))
  const options = { issuer: registrar.url, audience: 'sts.example' }
  expect((await jwtVerify(body.access_token, keys, options)).payload.iss).toBe(registrar.url)

  // And the next one signs with the same keys.
  const config = await readFile(registrar.config, 'utf8')
  await writeFile(registrar.config, config)
  const more = config.slice(config.indexOf('[trust]'))
  registrar = await startRegistrarProcess(join(directory, 'registrar'), more)
  const again = await exchange(await identityToken())
  await jwtVerify(again.body.access_token, keys, options)
})
