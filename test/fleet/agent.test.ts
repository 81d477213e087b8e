import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createRemoteJWKSet, customFetch, decodeJwt, jwtVerify } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Instance, startInstance } from '../harness/instance.ts'
import {
  agentStatus,
  ask,
  eventually,
  metabind,
  newToken,
  read,
  scratch,
} from '../harness/metabind.ts'
import { OpensslPki } from '../harness/openssl-pki.ts'

import { readAs } from '../harness/unix-http.ts'
import { registrarCommand } from './registrar-command.ts'
import { type RegistrarProcess, startRegistrarProcess, trustOf } from './registrar-process.ts'
import { type TlsFront, tlsFront } from './tls-front.ts'

/** An agent that enrols by itself, and tokens of the registrar for its callers; from a start without a registrar on. */

const AUDIENCE = 'sts.example'
const APP = 65534
const isRoot = process.getuid?.() === 0
const POLICY = `[[rule]]
effect = "allow"
users = [${process.getuid?.()}]
paths = ["/**"]
audiences = ["*"]

[[rule]]
effect = "allow"
users = [${process.getuid?.()}]
paths = ["/**"]

[[rule]]
effect = "allow"
users = [${APP}]
paths = ["/metabind/v1/token"]
audiences = ["app.example"]

[[rule]]
effect = "allow"
paths = ["/metabind/v1/token"]
audiences = ["users.example"]
`

const pki = new OpensslPki()
const stack = new AsyncDisposableStack()
let directory: string
let front: TlsFront
let instance: Instance
let registrar: RegistrarProcess

beforeAll(async () => {
  directory = stack.use(await scratch()).path
  stack.defer(() => pki.remove())
  front = await tlsFront(pki)
  await writeFile(join(directory, 'policy.toml'), POLICY, { mode: 0o600 })
  const config = `${front.config}[policy]\nfile = "${directory}/policy.toml"\n`
  instance = await startInstance(join(directory, 'one'), { certified: true, config })
  stack.defer(() => instance.stop())
})
afterAll(() => stack.disposeAsync())

const standing = async () => (await agentStatus(instance)).registrar
const becomes = (state: string) => eventually(standing, (seen) => seen?.state === state)

async function fleetToken(audience = AUDIENCE, more = '') {
  const path = `/metabind/v1/token?audience=${encodeURIComponent(audience)}${more}`
  return read(instance, await newToken(instance), path)
}
const exchanges = () => front.asked.filter((one) => one === 'POST /token').length
const enrolments = () => front.asked.filter((one) => one === 'POST /enrol').length

test('without a registrar that answers the agent is ready, and says what it waits for', async () => {
  expect(await agentStatus(instance)).toMatchObject({
    ready: true,
    registrar: { url: front.url, state: 'waiting' },
  })
  const tried = await eventually(standing, (seen) => seen?.problem !== undefined)
  expect(tried?.problem).toMatchObject({ code: 'FEDERATION_DOWN' })
  const refused = await fleetToken()
  expect([refused.status, refused.body.split(':', 1)]).toEqual([503, ['FEDERATION_NOT_ENROLLED']])
  expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
})

test('when there is one it enrols by itself, and keeps the generation', async () => {
  const audiences = ['sts.example', 'app.example'].map((name) => `[[audience]]\nname = "${name}"\n`)
  const ofUsers = '[[audience]]\nname = "users.example"\nsubject = "uid"\n'
  const more = `${await trustOf(instance.directory)}${audiences.join('')}${ofUsers}`
  registrar = await startRegistrarProcess(join(directory, 'registrar'), more, { url: front.url })
  stack.defer(() => registrar.end())
  front.leadTo(registrar.origin)
  await front.open()
  stack.defer(() => front.close())
  const { identity } = await agentStatus(instance)
  expect(await becomes('enrolled')).toMatchObject({ subject: `aliyun:${identity?.instanceId}` })
  const record = JSON.parse(await readFile(join(instance.stateDirectory, 'registrar.json'), 'utf8'))
  expect(record).toMatchObject({ generation: 1, iid: identity?.iid, url: registrar.url })
})

test('a caller has a token, which whoever finds the registrar by discovery verifies', async () => {
  const { status, body, headers } = await fleetToken()
  expect([status, headers['content-type'], headers['cache-control']]).toEqual([
    200,
    'application/jwt',
    'no-store',
  ])
  const keys = createRemoteJWKSet(new URL(`${registrar.url}/jwks.json`), {
    [customFetch]: (url, init) => fetch(url.replace(registrar.url, registrar.origin), init),
  })
  const { payload } = await jwtVerify(body, keys, { issuer: registrar.url, audience: AUDIENCE })
  expect(payload.sub).toMatch(/^aliyun:i-/)
})

test('it is exchanged once, whoever of this user asks how often; for another audience anew', async () => {
  const before = exchanges()
  const answers = await Promise.all([1, 2, 3].map(() => fleetToken()))
  expect(new Set(answers.map(({ body }) => body)).size).toBe(1)
  expect(exchanges()).toBe(before)
  const others = await Promise.all([1, 2, 3].map(() => fleetToken('app.example')))
  expect(new Set(others.map(({ body }) => body)).size).toBe(1)
  expect(exchanges()).toBe(before + 1)
})

test('an audience or format that there is not is refused', async () => {
  const told = async (...asked: Parameters<typeof fleetToken>) => {
    const { status, body } = await fleetToken(...asked)
    return `${status} ${body.split(':', 1)}`
  }
  expect(await told('nobody.example')).toBe('404 FEDERATION_AUDIENCE')
  expect(await told(AUDIENCE, '&format=saml')).toBe('400 REQUEST_QUERY')
})

test('no caller has an identity token for the registrar, which would be every token of it', async () => {
  const path = `/metabind/v1/identity?audience=${encodeURIComponent(registrar.url)}`
  const { status, body } = await read(instance, await newToken(instance), path)
  expect([status, body.split(':', 1)]).toEqual([403, ['FEDERATION_RESERVED']])
})

test('a token that names users names none of a container or namespace', async () => {
  const { body } = await fleetToken('users.example')
  expect(decodeJwt(body).sub).toMatch(new RegExp(`:uid:${process.getuid?.()}$`))
  if (!isRoot) return
  const through = ['unshare', '--fork', '--pid', '--kill-child']
  const path = '/metabind/v1/token?audience=users.example'
  expect(await readAs({ through }, instance.metadataSocket, path)).toMatchObject({
    status: 404,
    body: expect.stringMatching(/^FEDERATION_AUDIENCE/),
  })
})

test.skipIf(!isRoot)(
  'a user has the audiences that a rule names, and each is recorded',
  async () => {
    const get = (audience: string) =>
      metabind(instance, ['get', `/metabind/v1/token?audience=${audience}`], { uid: APP })
    expect(await get('app.example')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^ey/),
    })
    expect((await get(AUDIENCE)).stderr).toContain('POLICY_DENIED')
    const records = await eventually(
      async () => (await readFile(join(instance.directory, 'agent.log'), 'utf8')).split('\n'),
      (lines) => lines.some((line) => line.includes('policy.refused')),
    )
    const audited = records
      .filter((line) => line.includes('"audit":true'))
      .map((line) => JSON.parse(line))
      .filter(({ caller }) => caller?.uid === APP)
    expect(audited).toContainEqual(
      expect.objectContaining({ msg: 'federation.issued', audience: 'app.example' }),
    )
    expect(audited).toContainEqual(
      expect.objectContaining({ msg: 'policy.refused', audience: AUDIENCE }),
    )
    expect(records.join('\n')).not.toMatch(/eyJ/)
  },
)

test('while the registrar is away tokens that are good are served, and others said to be away', async () => {
  const kept = await fleetToken()
  await front.close()
  expect((await fleetToken()).body).toBe(kept.body)
  const other = await fleetToken('other.example')
  expect([other.status, other.body.split(':', 1)]).toEqual([503, ['FEDERATION_DOWN']])
  expect(Number(other.headers['retry-after'])).toBeGreaterThan(0)
  expect((await agentStatus(instance)).ready).toBe(true)
  await front.open()
})

test('restarted it shows the generation that it has kept', async () => {
  await instance.restartAgent()
  const before = enrolments()
  const record = await eventually(
    async () => JSON.parse(await readFile(join(instance.stateDirectory, 'registrar.json'), 'utf8')),
    ({ generation }) => generation === 2,
  )
  expect(record.generation).toBe(2)
  expect(enrolments()).toBeGreaterThanOrEqual(before)
  const { stdout } = await registrarCommand(registrar, 'events')
  expect(stdout).not.toContain('instance.restored')
})

test('suspended it gives no token, not even one that is kept, and says so once', async () => {
  expect((await fleetToken()).status).toBe(200)
  await registrarCommand(registrar, 'suspend', (await agentStatus(instance)).identity?.iid ?? '')
  // The registrar says it to whoever asks for something new.
  await fleetToken('app.example')
  expect(await becomes('refused')).toMatchObject({ state: 'refused' })
  const { status, body } = await fleetToken()
  expect([status, body.split(':', 1)]).toEqual([403, ['FEDERATION_REFUSED']])
  const log = await readFile(join(instance.directory, 'agent.log'), 'utf8')
  expect(log.match(/registrar: refused/g)).toHaveLength(1)
  const { body: metrics } = await ask(instance.adminSocket, 'GET', '/metabind/v1/metrics')
  expect(metrics).toMatch(/^metabind_registrar_enrolled 0$/m)
})
