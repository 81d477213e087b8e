import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Simulator, startSimulator } from '../../src/simulate/simulator.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { CLI } from '../harness/programs.ts'
import { scratchDirectory } from '../harness/scratch.ts'
import { type Answered, get, openSession, send } from '../simulate/request.ts'

/**
 * No secret ever in a log, audit record, metric, status, error or file. Secrets are planted, used in
 * every way that succeeds and fails, and then everything that the agent wrote is searched for them.
 */

const MARK = 'planted-user-data-4b1d'
const LATEST = '/latest/meta-data'
const ROLE = `${LATEST}/ram/security-credentials/demo-role`
const PKCS7 = '/latest/dynamic/instance-identity/pkcs7'

let scratch: Awaited<ReturnType<typeof scratchDirectory>>
let cloud: Simulator
let instance: Instance
let auditFile: string
const secrets = new Map<string, string>()
const written: Record<string, string> = {}

beforeAll(async () => {
  scratch = await scratchDirectory()
  auditFile = join(scratch.path, 'audit.log')
  cloud = await startSimulator({ role: 'demo-role', userData: Buffer.from(MARK), control: true })
  instance = await startInstance(scratch.path, {
    source: cloud.url,
    config: `[audit]\nfile = ${JSON.stringify(auditFile)}\n[log]\nlevel = "debug"\n`,
  })
  const errors = await useEverything()
  Object.assign(written, {
    errors: errors.map(({ headers, body }) => `${JSON.stringify(headers)}${body}`).join('\n'),
    metrics: (await admin('metrics')).body,
    status: (await admin('status')).body,
    cmdline: readFileSync(`/proc/${instance.agent.child.pid}/cmdline`, 'latin1'),
    environ: environmentOf(instance.agent.child.pid ?? 0),
  })
  await instance.agent.stop()
  Object.assign(written, {
    log: instance.agent.output(),
    audit: readFileSync(auditFile, 'latin1'),
    runtime: filesIn(instance.runtimeDirectory, ['salt']),
    state: filesIn(instance.stateDirectory, []),
  })
}, 120_000)

afterAll(async () => {
  await instance?.stop()
  await cloud?.close()
  await scratch?.[Symbol.asyncDispose]()
})

const admin = (call: string) => get(`unix:${instance.adminSocket}`, `/metabind/v1/${call}`)

/** Learns the secrets, and sends them where they belong and where they do not. @returns what was refused */
async function useEverything(): Promise<Answered[]> {
  const base = `unix:${instance.metadataSocket}`
  const token = await openSession(base, 3600)
  const short = await openSession(base, 1)
  secrets.set('token', token).set('short token', short)
  const credentials = JSON.parse((await get(base, ROLE, token)).body)
  secrets.set('access key', credentials.AccessKeySecret)
  secrets.set('security token', credentials.SecurityToken)
  secrets.set('pkcs7', (await get(base, PKCS7, token)).body.slice(0, 400))
  secrets.set('user data', (await get(base, '/latest/user-data', token)).body)
  const salt = readFileSync(join(instance.runtimeDirectory, 'salt'))
  for (const encoding of ['hex', 'base64', 'latin1'] as const) {
    secrets.set(`salt in ${encoding}`, salt.toString(encoding))
  }
  for (const [at, { rawHeaders }] of cloud.requests.entries()) {
    const name = rawHeaders.findIndex((one) => /metadata-token$/i.test(one))
    if (name >= 0) secrets.set(`upstream token ${at}`, rawHeaders[name + 1] ?? '')
  }
  const altered = `${token.slice(0, 60)}${token[60] === 'A' ? 'B' : 'A'}${token.slice(61)}`
  // All but one character of a token is as good as a token.
  secrets.set('most of a token', altered.slice(0, 59))
  await new Promise((resolve) => setTimeout(resolve, 1100))
  cloud.faults.set({ kind: 'status', code: 500, body: MARK, path: '/latest/dynamic' })
  const asked = [
    get(base, LATEST, altered),
    get(base, LATEST, short),
    get(base, LATEST, `${token}x`),
    get(base, `${LATEST}/${token}/%2e%2e`, token),
    get(base, `/${token}`, 'wrong'),
    get(base, `${LATEST}/ram/security-credentials/${token}`, 'wrong'),
    get(base, `${LATEST}/ram/security-credentials/${token}`, token),
    get(base, `${LATEST}?token=${token}`, token),
    get(base, `${LATEST}?${token}`, 'wrong'),
    get(base, `${PKCS7}?audience=planted`, token),
    get(base, '/latest/absent', token),
    send(base, 'GET', LATEST, ['X-Forwarded-For', token, 'Authorization', `Bearer ${token}`]),
    send(base, 'DELETE', LATEST, ['X-aliyun-ecs-metadata-token', token]),
    send(base, 'PUT', '/latest/api/token', ['X-aliyun-ecs-metadata-token-ttl-seconds', token]),
    send(base, 'GET', LATEST, [
      'X-aliyun-ecs-metadata-token',
      token,
      'X-Aliyun-Ecs-Metadata-Token',
      token,
    ]),
    post('inspect', `{"token":"${token}","more":1}`),
    post('inspect', `{"token":"${token}`),
    post('revoke', `{"token":"${altered}"}`),
  ]
  const answers = await Promise.all(asked)
  await metabind('inspect', token)
  await metabind('status')
  return answers
}

/** A request to the admin socket, well-formed or not. */
function post(call: string, body: string): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const url = `http://metabind/metabind/v1/${call}`
    const args = [
      '-s',
      '--unix-socket',
      instance.adminSocket,
      '-H',
      'Content-Type: application/json',
    ]
    execFile('curl', [...args, '--data', body, url], (error, stdout) => {
      if (error) reject(error)
      else resolve({ status: undefined, headers: {}, body: stdout })
    })
  })
}

/** Runs the command line, its standard input given; what it prints is searched too. */
function metabind(verb: string, input = ''): Promise<void> {
  return new Promise((resolve) => {
    const args = [CLI, verb, '--admin-socket', instance.adminSocket]
    const child = execFile(process.execPath, args, (_error, stdout, stderr) => {
      written[`metabind ${verb}`] = stdout + stderr
      resolve()
    })
    child.stdin?.end(input)
  })
}

/** Readable by root only: the agent is not dumpable. */
function environmentOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'latin1')
  } catch {
    return 'not readable'
  }
}

function filesIn(directory: string, but: readonly string[]): string {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => !but.includes(name) && statSync(join(directory, name)).isFile())
    .map((name) => `${name}\n${readFileSync(join(directory, name), 'latin1')}`)
    .join('\n')
}

describe('secrets', () => {
  test('were planted, and what is searched is there', () => {
    expect(secrets.size).toBeGreaterThan(10)
    for (const [name, secret] of secrets) expect(secret.length, name).toBeGreaterThan(10)
    const records = [
      'token.issued',
      'token.refused',
      'secret.read',
      'request.refused',
      'agent.ended',
    ]
    for (const event of records) {
      expect(written.log).toContain(event)
      expect(written.audit).toContain(event)
    }
    for (const code of ['TOKEN_INVALID', 'REQUEST_QUERY', 'SOURCE_DOWN', 'ADMIN_REQUEST']) {
      expect(written.errors).toContain(code)
    }
    expect(written.metrics).toContain('metabind_requests_total')
    expect(written.status).toContain('"ready":true')
    expect(written['metabind inspect']).toMatch(/^valid/)
  })

  test.each([
    'log',
    'audit',
    'errors',
    'metrics',
    'status',
    'cmdline',
    'environ',
    'runtime',
    'state',
    'metabind inspect',
    'metabind status',
  ])('are nowhere in: %s', (where) => {
    const text = written[where] ?? ''
    const found = [...secrets].filter(([, secret]) => text.includes(secret)).map(([name]) => name)
    expect(found).toEqual([])
  })
})
