import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type RegistrarProcess,
  startRegistrarProcess,
  trustOf,
} from '../fleet/registrar-process.ts'
import { type TlsFront, tlsFront } from '../fleet/tls-front.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { agentStatus, eventually, metabind, scratch } from '../harness/metabind.ts'
import { LEAF_EXTENSIONS, OpensslPki } from '../harness/openssl-pki.ts'
import { CLI } from '../harness/programs.ts'
import { type StandInSts, standInSts } from './stand-in-sts.ts'

/** Tokens of a registrar, and the unmodified SDKs of three clouds that exchange them. */

const run = promisify(execFile)
const PROGRAM = fileURLToPath(new URL('use-federated.cjs', import.meta.url))
const MODULES = fileURLToPath(new URL('federation/node_modules', import.meta.url))
const GOOGLE =
  '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q'
const ROLE = 'arn:aws:iam::123456789012:role/app'
const RAM_ROLE = 'acs:ram::1234567890123456:role/app'
const RAM_PROVIDER = 'acs:ram::1234567890123456:oidc-provider/fleet'
const isThere = existsSync(MODULES)

const pki = new OpensslPki()
const stack = new AsyncDisposableStack()
let directory: string
let instance: Instance
let front: TlsFront
let sts: StandInSts

beforeAll(async () => {
  directory = stack.use(await scratch()).path
  stack.defer(() => pki.remove())
  front = await tlsFront(pki)
  const users = `users = [${process.getuid?.()}]\npaths = ["/metabind/v1/token"]\naudiences = ["*", "${GOOGLE}"]`
  await writeFile(join(directory, 'policy.toml'), `[[rule]]\neffect = "allow"\n${users}\n`, {
    mode: 0o600,
  })
  const config = `${front.config}[policy]\nfile = "${directory}/policy.toml"\n`
  instance = await startInstance(join(directory, 'one'), { certified: true, config })
  stack.defer(() => instance.stop())
  const registrar = await startRegistrar()
  front.leadTo(registrar.origin)
  await front.open()
  stack.defer(() => front.close())
  const { registrar: known } = await eventually(
    () => agentStatus(instance),
    ({ registrar: seen }) => seen?.state === 'enrolled',
  )
  const { url, authority } = front
  const trusted = { url, authorities: authority.file, subject: known?.subject ?? '' }
  const leaf = pki.certificate({
    subject: '/CN=localhost',
    extensions: [
      ...LEAF_EXTENSIONS,
      'subjectAltName = DNS:localhost',
      'keyUsage = digitalSignature',
    ],
    under: authority,
  })
  sts = stack.use(await standInSts(leaf, trusted))
})
afterAll(() => stack.disposeAsync())

async function startRegistrar(): Promise<RegistrarProcess> {
  const names = ['sts.amazonaws.com', 'sts.aliyuncs.com', 'other.example', GOOGLE]
  const audiences = names.map((name) => `[[audience]]\nname = "${name}"\n`).join('')
  const more = `${await trustOf(instance.directory)}${audiences}`
  const at = join(directory, 'registrar')
  const registrar = await startRegistrarProcess(at, more, { url: front.url })
  stack.defer(() => registrar.end())
  return registrar
}

const at = (name: string) => join(directory, name)

async function federate(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await metabind(instance, ['federate', ...args])
  expect([code, stderr]).toEqual([0, ''])
  return stdout
}

const environmentIn = (text: string): Record<string, string> =>
  Object.fromEntries(text.split('\n').flatMap((line) => (line === '' ? [] : [line.split('=', 2)])))

/** An SDK in a process of its own, whose environment is what was printed. */
async function sdk(cloud: string, env: Record<string, string>): Promise<Record<string, unknown>> {
  const { PATH = '' } = process.env
  const more = {
    PATH,
    NODE_EXTRA_CA_CERTS: front.authority.file,
    METABIND_SOCKET: instance.metadataSocket,
  }
  const { stdout } = await run(process.execPath, [PROGRAM, cloud, MODULES], {
    env: { ...more, ...env },
  })
  return JSON.parse(stdout)
}

test('AWS: the SDK takes role and token file from the environment', async (context) => {
  if (!isThere) context.skip('./dev test-clients installs the SDK')
  const file = at('aws-token')
  const printed = await federate('aws', '--role', ROLE, '--out', file)
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  const env = {
    ...environmentIn(printed),
    AWS_ENDPOINT_URL_STS: `https://${sts.host}`,
    AWS_REGION: 'eu-central-1',
  }
  expect(await sdk('aws', env)).toMatchObject({ accessKeyId: 'STANDIN', sessionToken: 'session' })
  expect(sts.found.at(-1)).toBe('good')
})

test('Alibaba Cloud: the SDK takes role, provider and token file from the environment', async () => {
  const args = ['--role', RAM_ROLE, '--provider', RAM_PROVIDER, '--out', at('aliyun-token')]
  const env = { ...environmentIn(await federate('aliyun', ...args)), STS_HOST: sts.host }
  expect(await sdk('aliyun', env)).toMatchObject({
    accessKeyId: 'STANDIN',
    securityToken: 'session',
  })
  expect(sts.found.at(-1)).toBe('good')
})

test('Google: the SDK runs the executable that its configuration names', async (context) => {
  if (!isThere) context.skip('./dev test-clients installs the SDK')
  await writeFile(at('metabind'), `#!/bin/sh\nexec '${process.execPath}' '${CLI}' "$@"\n`, {
    mode: 0o755,
  })
  const printed = JSON.parse(await federate('google', '--audience', GOOGLE))
  expect(printed.token_url).toBe('https://sts.googleapis.com/v1/token')
  const configuration = { ...printed, token_url: `https://${sts.host}/v1/token` }
  await writeFile(at('google.json'), JSON.stringify(configuration))
  const env = {
    PATH: `${directory}:${process.env.PATH}`,
    GOOGLE_APPLICATION_CREDENTIALS: at('google.json'),
    GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES: '1',
    GOOGLE_CLOUD_PROJECT: 'p',
  }
  expect(await sdk('google', env)).toEqual({ accessToken: 'session' })
  expect(sts.found.at(-1)).toBe('good')
})

test('a token for somebody else is refused there', async () => {
  const env = {
    ALIBABA_CLOUD_OIDC_TOKEN_FILE: at('other-token'),
    ALIBABA_CLOUD_OIDC_PROVIDER_ARN: RAM_PROVIDER,
    ALIBABA_CLOUD_ROLE_ARN: RAM_ROLE,
    STS_HOST: sts.host,
  }
  await federate('token', '--audience', 'other.example', '--out', at('other-token'))
  expect((await sdk('aliyun', env)).error).toContain('refused')
  expect(sts.found.at(-1)).toMatch(/unexpected "aud"/)
})

describe('metabind federate', () => {
  test('executable says what failed, and ends with 0', async () => {
    const said = JSON.parse(await federate('executable', '--audience', 'nobody.example'))
    expect(said).toMatchObject({ version: 1, success: false, code: 'FEDERATION_AUDIENCE' })
  })

  test('what is printed leads to the file from any directory', async () => {
    const file = at('from-elsewhere')
    const args = ['--role', ROLE, '--out', relative(process.cwd(), file)]
    const printed = environmentIn(await federate('aws', ...args))
    expect(printed.AWS_WEB_IDENTITY_TOKEN_FILE).toBe(file)
    const own = ['--audience', GOOGLE, '--socket', relative(process.cwd(), instance.metadataSocket)]
    const { credential_source: source } = JSON.parse(await federate('google', ...own))
    expect(source.executable.command).toContain(`--socket ${instance.metadataSocket}`)
  })

  test('--keep writes the file and goes on, until it is told to end', async () => {
    const file = at('kept')
    const args = [CLI, 'federate', 'aws', '--role', ROLE, '--out', file, '--keep']
    const env = { ...process.env, METABIND_SOCKET: instance.metadataSocket }
    const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    expect(await readFile(file, 'utf8')).toMatch(/^ey/)
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([0, null])
  })

  test.each([
    ['aws without a role', ['aws', '--out', '/tmp/x'], '--role'],
    ['aliyun without a provider', ['aliyun', '--role', 'a', '--out', '/tmp/x'], '--provider'],
    ['--keep without a file', ['token', '--audience', 'a', '--keep'], '--keep belongs to --out'],
    ['a file that a shell would run', ['aws', '--role', 'a', '--out', '/tmp/$(x)'], 'otherwise'],
    ['an option of another', ['google', '--audience', 'a', '--out', '/tmp/x'], 'takes no --out'],
    ['no audience', ['token'], '--audience'],
    ['a format that is none', ['token', '--audience', 'a', '--format', 'jwt'], '--format takes'],
    ['a word that is none', ['gcp'], "there is no 'federate gcp'"],
  ])('%s is wrong usage', async (_name, args, says) => {
    const { code, stderr } = await metabind(instance, ['federate', ...args])
    expect([code, stderr]).toEqual([2, expect.stringContaining(says)])
  })
})
