import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startRegistrarProcess, trustOf } from '../fleet/registrar-process.ts'
import { type TlsFront, tlsFront } from '../fleet/tls-front.ts'
import { freePort } from '../harness/free-port.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { agentStatus, eventually, metabind, newToken, scratch } from '../harness/metabind.ts'
import { OpensslPki } from '../harness/openssl-pki.ts'
import { CLI } from '../harness/programs.ts'
import { requireRoot } from '../harness/root.ts'
import { startSimulatorCommand } from '../harness/simulator-command.ts'

/** What --json prints has the schema and the members that docs/cli.md lists, for every verb. */

const NONCE = 'ab'.repeat(32)

/** The blocks of a page between fences, as one line each. */
const blocksOf = (page: string) =>
  [...page.matchAll(/```\n(.*?)```/gs)].map(([, block = '']) =>
    block.replaceAll(/\s+/g, ' ').trim(),
  )
const readPage = (name: string) =>
  readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8')

const SHAPES = shapes()

function shapes(): ReadonlyMap<string, string> {
  const block = blocksOf(readPage('cli.md')).find((text) => text.startsWith('metabind.version/1'))
  const parts = (block ?? '').split(/(?=metabind\.[\w-]+\/\d+ )/)
  return new Map(
    parts.map((part) => {
      const [schema = '', ...members] = part.trim().split(' ')
      const [, call] = / as admin\.md has it: (\w+)/.exec(` ${members.join(' ')}`) ?? []
      return [schema, call === undefined ? members.join(' ') : answerOf(call)]
    }),
  )
}

function answerOf(call: string): string {
  const [, after = ''] = readPage('admin.md').split(`\n## ${call}\n`)
  const [, answer = ''] = /Answer:\n\n(```\n.*?```)/s.exec(after) ?? []
  return blocksOf(answer)[0] ?? ''
}

/** At the commas that stand in no braces. */
function splitOutside(text: string, at: string): string[] {
  let depth = 0
  const parts = ['']
  for (const character of text) {
    depth += '{['.includes(character) ? 1 : '}]'.includes(character) ? -1 : 0
    if (depth === 0 && character === at) parts.push('')
    else parts[parts.length - 1] += character
  }
  return parts.map((part) => part.trim()).filter((part) => part !== '')
}

/** What a value has that its shape has not, and the other way round; nothing for what fits. */
function misfits(value: Record<string, unknown>, shape: string): string[] {
  const members = splitOutside(shape, ',').map((text) => {
    const [, name = '', optional, , inside] =
      /^([\w]+)(\?)?(?: ([{[])(.*)[}\]])?$/s.exec(text) ?? []
    return { name, isOptional: optional !== undefined, inside: inside?.trim() }
  })
  const unknown = Object.keys(value).filter((key) => !members.some(({ name }) => name === key))
  const absent = members.filter(({ name, isOptional }) => !isOptional && !(name in value))
  const nested = members.flatMap(({ name, inside }) => {
    const one = value[name]
    if (inside === undefined || inside === '') return []
    const objects = Array.isArray(one) ? one : one === undefined ? [] : [one]
    return objects.flatMap((object) => misfits(object, inside))
  })
  return [...unknown.map((key) => `+${key}`), ...absent.map(({ name }) => `-${name}`), ...nested]
}

function expectShape(stdout: string): Record<string, unknown> {
  expect(stdout).toMatch(/^\{"schema":"metabind\.[a-z-]+\/1",[^\n]*\}\n$/)
  const { schema, ...value } = JSON.parse(stdout)
  const shape = SHAPES.get(schema)
  expect(shape, schema).toBeDefined()
  const tried = splitOutside(shape ?? '', '|').map((one) => misfits(value, one))
  expect(tried, `${schema}: ${stdout}`).toContainEqual([])
  seen.add(schema)
  return value
}

const seen = new Set<string>()
const stack = new AsyncDisposableStack()
let instance: Instance
let directory: string
let front: TlsFront
let asked: readonly string[]

const at = (name: string) => join(directory, name)

beforeAll(async () => {
  directory = stack.use(await scratch()).path
  const home = stack.use(await scratch()).path
  const uri = `[credentials_uri]\nenabled = true\nport = ${await freePort()}\n`
  const rule = `[[rule]]\neffect = "allow"\nusers = [${process.getuid?.()}]\n`
  const audiences = `${rule}paths = ["/metabind/v1/token"]\naudiences = ["*"]\n`
  const rules = `${rule}paths = ["/**"]\n${rule}proofs = ["https://h/**"]\n${audiences}`
  writeFileSync(join(home, 'rules.toml'), rules, { mode: 0o600 })
  const policy = `[policy]\nfile = "${join(home, 'rules.toml')}"\n`
  const pki = new OpensslPki()
  stack.defer(() => pki.remove())
  front = await tlsFront(pki)
  const audit = `[audit]\nfile = "${join(home, 'audit.log')}"\n`
  const config = `${audit}${policy}${uri}${front.config}`
  instance = await startInstance(home, { certified: true, role: 'app-role', config })
  stack.defer(() => instance.stop())
  writeFileSync(at('token'), await newToken(instance))
  writeFileSync(at('policy.toml'), 'mode = "audit"\n')
  writeFileSync(at('bad.toml'), 'mode = 1\n')
  writeFileSync(at('config.toml'), '[transparent]\nenabled = true\n')
  const known = ['--anchors', join(home, 'anchors')]
  known.push('--identity-certificate', join(home, 'cloud.pem'))
  asked = [at('evidence'), '--nonce', NONCE, ...known]
})
afterAll(() => stack.disposeAsync())

async function said(...args: string[]): Promise<Record<string, unknown>> {
  const { stdout, stderr } = await metabind(instance, [...args, '--json'])
  expect(stderr).toBe('')
  return expectShape(stdout)
}

test('of what speaks to an agent', async () => {
  expect(await said('version')).toHaveProperty('version')
  expect(await said('status')).toMatchObject({ state: 'ready' })
  expect(await said('token', '--ttl', '10m')).toMatchObject({ ttlSeconds: 600 })
  expect(await said('get', 'instance-id')).toMatchObject({
    path: '/latest/meta-data/instance-id',
    text: expect.stringMatching(/^i-/),
  })
  expect(await said('credential')).toMatchObject({ mode: 'StsToken' })
  expect(await said('credential', '--uri')).toMatchObject({ url: expect.stringMatching(/^http:/) })
  expect(await said('inspect', at('token'))).toMatchObject({ valid: true })
  expect(await said('inspect', at('policy.toml'))).toMatchObject({ valid: false })
  expect(await said('identity', '--audience', 'a')).toMatchObject({ audience: 'a' })
  expect(await said('proof', '--method', 'GET', '--url', 'https://h/')).toMatchObject({
    kind: 'dpop',
  })
  expect(await said('explain', 'root', 'https://h/')).toHaveProperty('passedOver')
  expect(await said('explain', 'https://h/', '--method', 'GET')).toMatchObject({ method: 'GET' })
  expect(await said('explain', 'root', 'instance-id')).toHaveProperty('passedOver')
  expect(await said('explain', 'instance-id')).not.toHaveProperty('passedOver')
  expect(await said('observe')).toEqual({ observed: [] })
  await said('audit', 'verify', join(instance.directory, 'audit.log'))
  expect(await said('ui', '--for', '1s')).toMatchObject({ url: expect.stringMatching(/^http:/) })
  expect(await said('doctor')).toHaveProperty('findings')
})

test('of what the registrar of a fleet signed', async () => {
  const trust = await trustOf(instance.directory)
  const audience = '[[audience]]\nname = "a"\n'
  const options = { url: front.url }
  const registrar = await startRegistrarProcess(at('registrar'), `${trust}${audience}`, options)
  stack.defer(() => registrar.end())
  front.leadTo(registrar.origin)
  await front.open()
  stack.defer(() => front.close())
  const status = async () => (await agentStatus(instance)).registrar
  await eventually(status, (seen) => seen?.state === 'enrolled')
  await said('status')
  const federate = (...args: string[]) => said('federate', ...args, '--audience', 'a')
  expect(await federate('token')).toMatchObject({ audience: 'a' })
  expect(await federate('token', '--out', at('fleet-token'))).toMatchObject({ environment: {} })
  const google = ['federate', 'google', '--audience', '//iam.googleapis.com/a']
  expect(await said(...google)).toHaveProperty('configuration')
})

test('of evidence: documents, and what is said of them', async () => {
  const { stdout } = await metabind(instance, ['evidence', '--nonce', NONCE, '--json'])
  expect(JSON.parse(stdout)).toMatchObject({ format: expect.any(String), version: 2 })
  writeFileSync(at('evidence'), stdout)
  await said('verify', ...asked)
  const files = ['--out', at('challenge'), '--secret-out', at('secret')]
  await said('verify', 'challenge', ...asked, ...files)
  const answer = await metabind(instance, ['activate', at('challenge'), '--json'])
  expect(JSON.parse(answer.stdout)).toMatchObject({ version: 1 })
  writeFileSync(at('answer'), answer.stdout)
  await said('verify', 'finish', at('answer'), '--secret', at('secret'))
  const [evidence = '', , , ...known] = asked
  await said('verify', 'suggest-policy', evidence, ...known)
  await said('verify', 'anchors', evidence)
})

test('of files, good and bad', async () => {
  expect(await said('policy', 'check', at('policy.toml'))).toMatchObject({ valid: true })
  expect(await said('policy', 'check', at('bad.toml'))).toMatchObject({ code: 'POLICY_INVALID' })
  expect(await said('config', 'check', at('config.toml'))).toMatchObject({ valid: true })
  expect(await said('config', 'check', at('bad.toml'))).toMatchObject({ code: 'CONFIG_INVALID' })
  const rules = ['lockdown', 'on', '--rules', '--user', 'nobody', '--config', at('config.toml')]
  expect(await said(...rules)).toMatchObject({ rules: expect.stringContaining('table ip') })
  const caller = { pid: 1, uid: 7, gid: 7, groups: [], namespaces: [] }
  const record = { audit: true, event: 'policy.seen', path: '/latest/user-data', caller }
  writeFileSync(at('seen.log'), `${JSON.stringify(record)}\n`)
  expect(await said('policy', 'suggest', at('seen.log'))).toMatchObject({ records: 1, skipped: 0 })
})

test('of an agent that is waited for', async () => {
  const child = spawn(process.execPath, [CLI, 'status', '--watch', '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, METABIND_ADMIN_SOCKET: at('none') },
  })
  const [line]: Buffer[] = await once(child.stdout, 'data')
  child.kill()
  expect(expectShape(String(line))).toMatchObject({ code: 'SOCKET_ABSENT' })
})

test('of the simulator', async () => {
  await using simulator = await startSimulatorCommand('--json')
  expect(expectShape(`${simulator.lines[0]}\n`)).toHaveProperty('certificatePem')
})

test('of lockdown, in a network of its own', async (context) => {
  requireRoot(context, 'the firewall of a network of its own')
  const run = (command: string) =>
    execFileSync('unshare', ['--net', 'sh', '-c', command], { encoding: 'utf8' }).trim().split('\n')
  const verb = `${process.execPath} ${CLI} lockdown`
  const options = `--user nobody --config ${at('config.toml')} --json`
  const lines = run(
    `${verb} on --before-agent --for 10m ${options} && ${verb} status --json &&
     ${verb} on --preview ${options} && ${verb} off --json 2>/dev/null; ${verb} status --json || true`,
  )
  const [on, status, preview, off, after] = lines.map((line) => expectShape(`${line}\n`))
  expect(on).toEqual({ change: 'on', mode: 'enforce', containers: 'refuse', forSeconds: 600 })
  expect(status).toMatchObject({ state: 'enforce' })
  expect(preview).toMatchObject({ agentAnswers: false, before: [] })
  expect(off).toEqual({ change: 'off' })
  expect(after).toEqual({ state: 'off' })
})

test('every schema of the page was seen', (context) => {
  if (process.getuid?.() !== 0) context.skip('those of lockdown need root')
  expect([...seen].sort()).toEqual([...SHAPES.keys()].sort())
})
