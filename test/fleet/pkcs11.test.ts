import { execFile, execFileSync } from 'node:child_process'
import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { chmod, cp, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { z } from 'zod'
import { freePort } from '../harness/free-port.ts'
import { runNode, scratch } from '../harness/metabind.ts'
import { REGISTRAR } from '../harness/programs.ts'
import { p11KitClient, type SoftHsm, softHsm } from '../harness/softhsm.ts'
import { newSoftwareSeeds, type SoftwareSeeds, spkiOfSoftwareKey } from '../harness/software-tpm.ts'
import { type RegistrarProcess, startRegistrarProcess } from './registrar-process.ts'
import {
  enrolledBy,
  freshEvidence,
  identityTokenOfSoftware,
  type Replied,
  requested,
  type SoftwareInstance,
  unknownInstance,
} from './software-instance.ts'

/** A registrar whose keys are in a token of SoftHSM, as a process that instances and verifiers ask. */

let stack: AsyncDisposableStack
let directory: string
let hsm: SoftHsm
let seeds: SoftwareSeeds
beforeEach(async () => {
  stack = new AsyncDisposableStack()
  directory = stack.use(await scratch()).path
  hsm = await softHsm(join(directory, 'hsm'))
  seeds = newSoftwareSeeds()
})
afterEach(() => stack.disposeAsync())

/** A pinned EK is vouched for, so the instance has an AK certificate. */
const tables = (keys = hsm.config) => `[trust]
ek_pins = ["${createHash('sha256').update(spkiOfSoftwareKey(seeds.ek)).digest('hex')}"]
[admission]
instance_id = "word"
[spiffe]
trust_domain = "fleet.example"
[[audience]]
name = "rsa.example"
formats = ["id_token", "access_token", "jwt_svid", "wit"]
dpop = "optional"
[[audience]]
name = "ec.example"
algorithm = "ES256"
formats = ["id_token", "access_token", "jwt_svid", "wit"]
dpop = "optional"
${keys}`

async function start(keys?: string, at = 'one'): Promise<RegistrarProcess> {
  const registrar = await startRegistrarProcess(join(directory, at), tables(keys), { env: hsm.env })
  stack.defer(() => registrar.end('SIGKILL'))
  return registrar
}

async function enrolled(registrar: RegistrarProcess) {
  const instance = unknownInstance('i-one', seeds)
  const { status, body } = await enrolledBy(
    registrar,
    await freshEvidence(instance, registrar),
    instance,
  )
  expect([status, body.state]).toEqual([200, 'active'])
  const akCertificates = z.array(z.string()).parse(body.akCertificates)
  return { instance, akCertificates }
}

async function ask(
  { origin, url }: RegistrarProcess,
  instance: SoftwareInstance,
  {
    audience = 'ec.example',
    format = 'id_token',
    token = identityTokenOfSoftware(instance, url),
  } = {},
): Promise<Replied> {
  const form = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: token,
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    ...{ audience, format },
  })
  const response = await fetch(`${origin}/token`, { method: 'POST', body: form })
  return { status: response.status, body: z.looseObject({}).parse(await response.json()) }
}

const jwksSchema = z.looseObject({
  keys: z.array(z.looseObject({ kid: z.string(), kty: z.string() })),
})
const keysAt = async (registrar: RegistrarProcess, path: string) =>
  jwksSchema.parse((await requested(registrar, path)).body)

test('tokens of all kinds, the status list and AK certificates verify, and no key can leave the token', async () => {
  const registrar = await start()
  const { instance, akCertificates } = await enrolled(registrar)
  for (const audience of ['rsa.example', 'ec.example']) {
    for (const format of ['id_token', 'access_token', 'jwt_svid', 'wit']) {
      const { status, body } = await ask(registrar, instance, { audience, format })
      expect([status, body.error]).toEqual([200, undefined])
      const path = format === 'wit' ? '/wit/jwks.json' : '/jwks.json'
      const { protectedHeader } = await jwtVerify(
        String(body.access_token),
        createLocalJWKSet(await keysAt(registrar, path)),
      )
      const isRsa = audience === 'rsa.example' && format !== 'wit'
      expect(protectedHeader.alg).toBe(isRsa ? 'RS256' : 'ES256')
    }
  }
  const list = await (await fetch(`${registrar.origin}/status-list`)).text()
  await jwtVerify(list, createLocalJWKSet(await keysAt(registrar, '/jwks.json')))

  const [leaf = '', issuer = ''] = akCertificates.map((der) =>
    new X509Certificate(Buffer.from(der, 'base64')).toString(),
  )
  const anchors = await (await fetch(`${registrar.origin}/ak/ca.pem`)).text()
  expect(issuer).toBe(anchors)
  for (const [name, pem] of Object.entries({ leaf, anchors })) {
    await writeFile(join(directory, `${name}.pem`), pem)
  }
  const files = ['-CAfile', join(directory, 'anchors.pem'), join(directory, 'leaf.pem')]
  const said = execFileSync('openssl', ['verify', '-x509_strict', '-no-CApath', ...files])
  expect(said.toString()).toContain('leaf.pem: OK')

  const objects = hsm.tool('--list-objects', '--type', 'privkey').split('Private Key Object')
  const described = objects.slice(1)
  expect(described).toHaveLength(5)
  for (const one of described) {
    expect(one).toMatch(/label: +metabind-registrar (?:RS256|ES256|wit|checkpoint|ak-authority)\n/)
    expect(one).toMatch(/Usage: +sign\n/)
    expect(one).toMatch(/Access: +sensitive, always sensitive, never extractable, local/)
  }
  // What two processes shared was the token alone: no private key is in any file.
  expect(JSON.stringify(registrar.records)).not.toContain(hsm.pin)
})

test('a database without its token signs nothing, whatever the copy has besides', async () => {
  const registrar = await start()
  const { instance } = await enrolled(registrar)
  await registrar.end()
  for (const keys of ['', await otherToken()]) {
    const copied = keys === '' ? 'without' : 'with-another'
    await cp(join(directory, 'one'), join(directory, copied), { recursive: true })
    const thief = await start(keys, copied)
    const { status, body } = await ask(thief, instance)
    expect([status, body.error]).toEqual([503, 'REGISTRAR_HSM'])
    expect((await keysAt(thief, '/jwks.json')).keys.length).toBeGreaterThan(0)
    await thief.end()
  }
})

/** Another token of the same label and PIN. */
async function otherToken(): Promise<string> {
  hsm = await softHsm(join(directory, 'other-hsm'))
  return hsm.config
}

test('a wrong PIN is tried once: the registrar goes on without, says so, and takes the right one at SIGHUP', async () => {
  const first = await start()
  const { instance } = await enrolled(first)
  await first.end()
  await writeFile(hsm.pinFile, '000000\n')
  const registrar = await start()
  const token = identityTokenOfSoftware(instance, registrar.url)
  for (let tries = 0; tries < 4; tries += 1) {
    const { status, body } = await ask(registrar, instance, { token })
    expect([status, body.error]).toEqual([503, 'REGISTRAR_PIN'])
  }
  expect((await keysAt(registrar, '/jwks.json')).keys).toHaveLength(2)
  const lost = registrar.records.filter(({ msg }) => msg === 'PKCS #11 token lost')
  expect(lost.map(({ cause }) => cause)).toEqual([expect.stringContaining('CKR_PIN_INCORRECT')])
  const checked = await check(registrar)
  expect([checked.code, checked.stdout]).toEqual([1, expect.stringContaining('REGISTRAR_PIN')])

  // The same one again is not tried again.
  registrar.hangUp()
  await registrar.logged('configuration reloaded; what is kept needs a restart')
  expect((await ask(registrar, instance, { token })).status).toBe(503)
  await writeFile(hsm.pinFile, hsm.pin)
  registrar.hangUp()
  // What was refused for it has not used the identity token up.
  await expect.poll(async () => (await ask(registrar, instance, { token })).status).toBe(200)
  expect((await ask(registrar, instance, { token })).body.error_description).toContain('USED')
  expect((await check(registrar)).stdout).toContain(
    'key token      valid: registrar keys, takes the PIN',
  )
})

test('a file of the PIN that cannot be used keeps nothing else from being reloaded', async () => {
  await writeFile(hsm.pinFile, '000000\n')
  const registrar = await start()
  await registrar.logged('PKCS #11 token lost')
  await chmod(hsm.pinFile, 0o644)
  registrar.hangUp()
  await registrar.logged('configuration reloaded; what is kept needs a restart')
  const { cause } = await registrar.logged('PIN of the PKCS #11 token not read')
  expect(cause).toContain('accessible to others')
})

const check = ({ config }: RegistrarProcess) =>
  runNode([REGISTRAR, 'check', '--config', config], { env: hsm.env })

test('a token that goes while the registrar serves is missed in what it signs alone, and used when it is back', async () => {
  const port = await freePort()
  const registrar = await start(`${hsm.config}[metrics]\nport = ${port}\n`)
  const { instance } = await enrolled(registrar)
  const isUp = async () => {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    return /^metabind_registrar_key_token_up (\d)$/m.exec(text)?.[1]
  }
  expect(await isUp()).toBe('1')
  await hsm.hide()
  const gone = await ask(registrar, instance)
  expect([gone.status, gone.body.error]).toEqual([503, 'REGISTRAR_HSM'])
  expect((await requested(registrar, '/healthz')).status).toBe(200)
  expect((await keysAt(registrar, '/jwks.json')).keys).toHaveLength(2)
  expect(await isUp()).toBe('0')
  const failed = await check(registrar)
  expect([failed.code, failed.stdout]).toEqual([1, expect.stringContaining('REGISTRAR_HSM')])
  await hsm.show()
  await expect.poll(async () => (await ask(registrar, instance)).status).toBe(200)
  await registrar.logged('PKCS #11 token is there again')
  expect(await isUp()).toBe('1')
  expect(registrar.records.filter(({ msg }) => msg === 'PKCS #11 token lost')).toHaveLength(1)
})

test('two registrars on one database and one token have the same keys, and each signs', async () => {
  const one = await start()
  const { instance } = await enrolled(one)
  const other = await startRegistrarProcess(join(directory, 'two'), tables(), {
    env: hsm.env,
    storage: join(directory, 'one'),
  })
  stack.defer(() => other.end('SIGKILL'))
  const [ofOne, ofOther] = [await keysAt(one, '/jwks.json'), await keysAt(other, '/jwks.json')]
  expect(ofOther).toEqual(ofOne)
  const signers = await Promise.all(
    [one, other, one, other].map(async (registrar) => {
      const { body } = await ask(registrar, instance)
      await jwtVerify(String(body.access_token), createLocalJWKSet(ofOne))
      return decodeProtectedHeader(String(body.access_token)).kid
    }),
  )
  expect(new Set(signers).size).toBe(1)
  expect(hsm.tool('--list-objects', '--type', 'privkey').match(/Private Key/g)).toHaveLength(5)
})

test('a module that never returns keeps neither check nor a registrar from ending', async () => {
  const silent = createServer().listen(join(directory, 'silent.socket'))
  await once(silent, 'listening')
  stack.defer(() => void silent.close())
  const env = { P11_KIT_SERVER_ADDRESS: `unix:path=${join(directory, 'silent.socket')}` }
  const keys = hsm.config.replace(hsm.module, p11KitClient())
  const registrar = await startRegistrarProcess(join(directory, 'one'), tables(keys), { env })
  stack.defer(() => registrar.end('SIGKILL'))
  const args = [REGISTRAR, 'check', '--config', registrar.config]
  const checked = promisify(execFile)(process.execPath, args, { env: { ...process.env, ...env } })
  await expect(checked).rejects.toMatchObject({
    ...{ code: 1, stdout: expect.stringContaining('No answer within') },
  })
  await registrar.end()
})
