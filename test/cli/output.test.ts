import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, openSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Instance, startInstance } from '../harness/instance.ts'
import { metabind, newToken, runNode, scratch } from '../harness/metabind.ts'
import { CLI, DAEMON } from '../harness/programs.ts'

/** What the command line prints, and when it cannot. */

const NONCE = 'ab'.repeat(32)
const LOCKDOWN = '[transparent]\nenabled = true\n'
const ALLOW = `[[rule]]\neffect = "allow"\nusers = [${process.getuid?.()}]\n`
const RULES = `${ALLOW}paths = ["/**"]\n${ALLOW}proofs = ["https://orders.example/**"]\n`

const stack = new AsyncDisposableStack()
let instance: Instance
let directory: string
let printing: Readonly<Record<string, readonly string[]>>

const at = (name: string) => join(directory, name)

beforeAll(async () => {
  directory = stack.use(await scratch()).path
  const home = stack.use(await scratch()).path
  const config = `[audit]\nfile = "${join(home, 'audit.log')}"\n[policy]\nfile = "${join(home, 'rules.toml')}"\n`
  writeFileSync(join(home, 'rules.toml'), RULES, { mode: 0o600 })
  instance = await startInstance(home, { certified: true, role: 'app-role', config })
  stack.defer(() => instance.stop())
  writeFileSync(at('token'), await newToken(instance))
  writeFileSync(at('policy.toml'), '')
  writeFileSync(at('config.toml'), LOCKDOWN)
  const known = ['--anchors', join(home, 'anchors')]
  known.push('--identity-certificate', join(home, 'cloud.pem'))
  const run = async (...args: string[]) =>
    expect(await metabind(instance, args)).toMatchObject({ code: 0, stderr: '' })
  const asked = [at('evidence'), '--nonce', NONCE, ...known]
  await run('evidence', '--nonce', NONCE, '--out', at('evidence'))
  const files = ['--out', at('challenge'), '--secret-out', at('secret')]
  await run('verify', 'challenge', ...asked, ...files)
  printing = {
    status: ['status'],
    token: ['token'],
    get: ['get', 'instance-id'],
    credential: ['credential'],
    // What it runs prints for itself.
    exec: ['exec', '--help'],
    inspect: ['inspect', at('token')],
    // It says nothing if all is well.
    revoke: ['revoke', '--help'],
    identity: ['identity', '--audience', 'a'],
    proof: ['proof', '--url', 'https://orders.example/a', '--method', 'GET'],
    federate: ['federate', 'google', '--audience', '//iam.googleapis.com/a'],
    evidence: ['evidence', '--nonce', NONCE],
    activate: ['activate', at('challenge')],
    verify: ['verify', ...asked],
    explain: ['explain', 'root', 'instance-id'],
    policy: ['policy', 'check', at('policy.toml')],
    audit: ['audit', 'verify', join(home, 'audit.log')],
    lockdown: ['lockdown', 'on', '--rules', '--user', 'nobody', '--config', at('config.toml')],
    observe: ['observe'],
    ui: ['ui'],
    doctor: ['doctor'],
    config: ['config', 'check', at('config.toml')],
    simulate: ['simulate'],
  }
})
afterAll(() => stack.disposeAsync())

/** Runs a program with standard output, or another descriptor, at an open file. */
async function runInto(
  descriptor: number,
  args: readonly string[],
  which: 1 | 2 = 1,
): Promise<{ code: number | null; other: string }> {
  const { metadataSocket, adminSocket } = instance
  const env = { METABIND_SOCKET: metadataSocket, METABIND_ADMIN_SOCKET: adminSocket }
  const child = spawn(process.execPath, args, {
    stdio: ['ignore', which === 1 ? descriptor : 'pipe', which === 2 ? descriptor : 'pipe'],
    env: { ...process.env, ...env },
    timeout: 120_000,
    killSignal: 'SIGKILL',
  })
  const from = which === 1 ? child.stderr : child.stdout
  if (from === null) throw new Error('no pipe')
  const [other] = await Promise.all([text(from), once(child, 'close')])
  return { code: child.exitCode, other }
}

/** The writing end of a pipe whose reading end is closed. */
async function closedPipe(): Promise<number> {
  const fifo = at(`closed-${Math.random()}`)
  const made = spawn('mkfifo', [fifo])
  await once(made, 'exit')
  const both = openSync(fifo, 'r+')
  const writing = openSync(fifo, constants.O_WRONLY)
  closeSync(both)
  return writing
}

const VERBS = [
  ...['status', 'token', 'get', 'credential', 'exec', 'inspect', 'revoke', 'identity', 'proof'],
  ...['federate', 'evidence', 'activate', 'verify', 'explain', 'policy', 'audit', 'lockdown'],
  ...['observe', 'ui', 'doctor', 'config', 'simulate'],
]

describe('where nothing can be written', () => {
  test('the list is of every verb', async () => {
    const { stdout } = await metabind(instance, ['--help'])
    const verbs = [...stdout.matchAll(/^ {2}([\w-]+) {2,}/gm)].map(([, verb]) => verb)
    expect(verbs).toEqual(VERBS)
    expect(Object.keys(printing)).toEqual(VERBS)
  })

  test.each([...VERBS, '--help', '--version'])('a full disk is one line: %s', async (verb) => {
    const full = openSync('/dev/full', 'w')
    const { code, other } = await runInto(full, [CLI, ...(printing[verb] ?? [verb])])
    closeSync(full)
    expect(other).toMatch(/^metabind: FILE_NOT_WRITTEN: [^\n]*\(no space is left\)[^\n]*\n$/)
    expect(code).toBe(1)
  })

  test.each([...VERBS, '--help', '--version'])('a closed pipe is silence: %s', async (verb) => {
    const pipe = await closedPipe()
    const { code, other } = await runInto(pipe, [CLI, ...(printing[verb] ?? [verb])])
    closeSync(pipe)
    expect({ code, other }).toEqual({ code: 141, other: '' })
  })

  test('the exit code stays where the reason cannot be written', async () => {
    for (const descriptor of [openSync('/dev/full', 'w'), await closedPipe()]) {
      expect(await runInto(descriptor, [CLI, 'stat'], 2)).toEqual({ code: 2, other: '' })
      closeSync(descriptor)
    }
  })

  test('the agent says its help as well', async () => {
    const full = openSync('/dev/full', 'w')
    const { code, other } = await runInto(full, [DAEMON, '--help'])
    closeSync(full)
    expect({ code, other }).toEqual({
      code: 1,
      other: expect.stringMatching(/^metabindd: [^\n]*\n$/),
    })
    const pipe = await closedPipe()
    expect(await runInto(pipe, [DAEMON, '--help'])).toEqual({ code: 141, other: '' })
    closeSync(pipe)
  })

  test('a pipe that is full and not blocking gets everything', async () => {
    const child = spawn(
      'python3',
      [
        '-c',
        'import os, sys; os.set_blocking(1, False); os.execv(sys.argv[1], sys.argv[1:])',
      ].concat([process.execPath, CLI, 'verify', '--help']),
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    expect(await text(child.stdout)).toBe((await metabind(instance, ['verify', '--help'])).stdout)
  })
})

describe('files', () => {
  test.each([
    ['evidence', () => ['evidence', '--nonce', NONCE, '--out', at('planted')]],
    ['activate', () => ['activate', at('challenge'), '--out', at('planted')]],
    ['token', () => ['token', '--out', at('planted')]],
    [
      'verify challenge',
      () => [
        ...['verify', 'challenge', ...(printing.verify ?? []).slice(1)],
        ...['--out', at('planted'), '--secret-out', at('other-secret')],
      ],
    ],
    [
      'verify challenge, its secret',
      () => [
        ...['verify', 'challenge', ...(printing.verify ?? []).slice(1)],
        ...['--out', at('other-challenge'), '--secret-out', at('planted')],
      ],
    ],
    [
      'verify challenge, for tpm2-tools',
      () => [
        ...['verify', 'challenge', ...(printing.verify ?? []).slice(1)],
        ...['--out', at('other-challenge'), '--secret-out', at('other-secret')],
        ...['--tools-out', at('planted')],
      ],
    ],
    ['simulate', () => ['simulate', '--certificate-out', at('planted')]],
  ])('a planted link is not followed: %s', async (_verb, args) => {
    writeFileSync(at('victim'), 'untouched')
    await runNode([
      '-e',
      `require('node:fs').rmSync(${JSON.stringify(at('planted'))}, {force: true})`,
    ])
    symlinkSync(at('victim'), at('planted'))
    const { code, stderr } = await metabind(instance, args())
    expect(stderr).toMatch(/FILE_UNUSABLE: .*planted: it is a symbolic link/)
    expect(code).toBe(1)
    expect(readFileSync(at('victim'), 'utf8')).toBe('untouched')
  })
})

describe('a false agent', () => {
  // What clears a screen, in seven and in eight bits; a title; a line turned around; rows of its own.
  const HOSTILE = '\x1b[2J\x9b2J\x1b]0;x\x07\u202e\r\nstate     ready\u2028'
  const LIVE = /[^\P{Cc}\n]|[\p{Cf}\p{Zl}\p{Zp}]/u
  const status = {
    version: HOSTILE,
    state: HOSTILE,
    ready: false,
    problem: { code: HOSTILE, sentence: HOSTILE, remedy: HOSTILE },
    identity: { dialect: HOSTILE, instanceId: HOSTILE, iid: HOSTILE, ekName: HOSTILE, akName: '' },
    tpm: { tcti: HOSTILE, ek: HOSTILE },
    selfTest: { anchor: HOSTILE, proven: [HOSTILE], lacked: [HOSTILE] },
    source: { dialect: HOSTILE, endpoint: HOSTILE },
    policy: { mode: HOSTILE, from: HOSTILE, rules: 1 },
    lockdown: { state: HOSTILE, until: HOSTILE, redirected: 1 },
    sockets: { metadata: HOSTILE, admin: HOSTILE },
  }
  const explanation = {
    ...{ allowed: true, why: HOSTILE, mode: HOSTILE, path: HOSTILE },
    rule: 1,
    passedOver: [{ rule: 1, name: HOSTILE, mismatch: HOSTILE }],
  }
  const inspection = { valid: false, code: 'TOKEN_FORGED', sentence: HOSTILE, detail: HOSTILE }
  const observed = {
    ...{ unit: HOSTILE, container: HOSTILE, network: 'host', isPlaced: true, tokenRequests: 0 },
    ...{ readsWithToken: 1, readsWithoutToken: 1, lastPath: HOSTILE, lastSeen: HOSTILE },
  }
  const answers: Readonly<Record<string, unknown>> = {
    status,
    explain: explanation,
    inspect: inspection,
    observed: [observed],
    evidence: { [HOSTILE]: HOSTILE },
    activate: { [HOSTILE]: HOSTILE },
  }
  let sockets: { metadataSocket: string; adminSocket: string }
  let tokenSent = 'x'.repeat(86)
  let body: string | undefined

  beforeAll(async () => {
    sockets = { metadataSocket: at('false-m.sock'), adminSocket: at('false-a.sock') }
    const admin = createServer((request, response) => {
      const call = request.url?.split('/').at(-1) ?? ''
      request.resume().on('end', () => response.end(body ?? JSON.stringify(answers[call])))
    })
    const metadata = createServer((request, response) => {
      response.setHeader('X-aliyun-ecs-metadata-token-ttl-seconds', '60')
      response.end(request.method === 'PUT' ? tokenSent : HOSTILE)
    })
    for (const [server, path] of [
      [admin, sockets.adminSocket],
      [metadata, sockets.metadataSocket],
    ] as [Server, string][]) {
      server.listen(path)
      await once(server, 'listening')
      stack.defer(() => void server.close())
    }
  })

  test.each([
    [['status']],
    [['status', '--json']],
    [['explain', 'root', 'x']],
    [['explain', 'root', 'x', '--json']],
    [['inspect', 'TOKEN']],
    [['inspect', 'TOKEN', '--json']],
    [['observe']],
    [['observe', '--json']],
    [['evidence', '--nonce', NONCE]],
    [['activate', 'CHALLENGE']],
    [['identity', '--audience', 'a']],
    [['credential', '--uri', 'role']],
    [['credential']],
    [['doctor']],
    [['doctor', '--json']],
  ])('speaks to no terminal, and draws no lines: %j', async (args) => {
    const files: Readonly<Record<string, string>> = {
      TOKEN: at('token'),
      CHALLENGE: at('challenge'),
    }
    const { stdout, stderr } = await metabind(
      sockets,
      args.map((arg) => files[arg] ?? arg),
    )
    expect(stdout + stderr).not.toMatch(LIVE)
    if (args[0] !== 'identity' && args[0] !== 'credential') {
      expect(stdout).not.toMatch(/^state {5}ready/m)
    }
    const said: Readonly<Record<string, unknown>> = { status, evidence: answers.evidence }
    if (args.includes('--json') && args[0] === 'status') {
      expect(JSON.parse(stdout)).toEqual({ schema: 'metabind.status/1', ...status })
    }
    if (args[0] === 'evidence') expect(JSON.parse(stdout)).toEqual(said.evidence)
  })

  test('sends no token that is none', async () => {
    for (const sent of [HOSTILE, `${'x'.repeat(86)}\x1b[2J`, '', 'x'.repeat(2000)]) {
      tokenSent = sent
      const { code, stdout, stderr } = await metabind(sockets, ['token'])
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
      expect(stderr).toMatch(/^metabind: SOCKET_BROKEN: .*It sent no token\./)
    }
    tokenSent = 'x'.repeat(86)
  })

  test('sends no JSON that stops the command', async () => {
    for (const sent of ['[', '{"a":'].flatMap((open) => [open.repeat(800_000), `${HOSTILE}{`])) {
      body = sent
      const { code, stderr } = await metabind(sockets, ['status'])
      expect(stderr).toMatch(/^metabind: SOCKET_BROKEN: [^\n]*\n$/)
      expect(stderr).not.toMatch(LIVE)
      expect(code).toBe(1)
    }
    body = undefined
  })

  test('is printed by --json as the members that are documented, whichever verb asks', async () => {
    const newer = <T extends object>(one: T) => ({ later: 1, ...one })
    const more: Readonly<Record<string, unknown>> = {
      status: newer({ ...status, tpm: newer(status.tpm) }),
      explain: newer({ ...explanation, passedOver: explanation.passedOver.map(newer) }),
      inspect: newer(inspection),
      observed: [newer(observed)],
    }
    for (const [call, args] of [
      ['status', ['status']],
      ['explain', ['explain', 'root', 'x']],
      ['inspect', ['inspect', at('token')]],
      ['observed', ['observe']],
    ] as const) {
      body = JSON.stringify(more[call])
      const { stdout } = await metabind(sockets, [...args, '--json'])
      const { schema, ...said } = JSON.parse(stdout)
      expect(schema).toBe(`metabind.${args[0]}/1`)
      expect(call === 'observed' ? said.observed : said).toEqual(answers[call])
    }
    body = undefined
  })

  test('that says something else is told apart in a sentence', async () => {
    body = JSON.stringify({ [HOSTILE]: 1 })
    for (const args of [
      ['status'],
      ['explain', 'root', 'x'],
      ['inspect', at('token')],
      ['observe'],
    ]) {
      const { code, stderr } = await metabind(sockets, args)
      expect(stderr).toMatch(
        /^metabind: SOCKET_BROKEN: .* Its answer is not that of an agent\. .*\n$/,
      )
      expect(code).toBe(1)
    }
    body = undefined
  })

  test('is read byte by byte by get, but shown on a terminal', async () => {
    expect((await metabind(sockets, ['get', 'x'])).stdout).toBe(HOSTILE)
    const env = { METABIND_SOCKET: sockets.metadataSocket, PATH: process.env.PATH }
    const command = `${process.execPath} ${CLI} get x`
    const child = spawn('script', ['-qec', command, '/dev/null'], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const shown = (await text(child.stdout)).replaceAll('\r\n', '\n')
    expect(shown).toContain('\\u{1b}[2J\\u{9b}2J')
    expect(shown).not.toMatch(LIVE)
  })
})

test('every verb writes files through the one place that follows no link', async () => {
  const { readdir } = await import('node:fs/promises')
  const folder = fileURLToPath(new URL('../../src/cli', import.meta.url))
  for (const name of (await readdir(folder)).filter((file) => file !== 'files.ts')) {
    const imported = (await readFile(join(folder, name), 'utf8')).match(
      /^import \{[^}]*\} from 'node:fs(\/promises)?'$/gm,
    )
    const writing = /\b(writeFile|appendFile|createWriteStream|rename|copyFile|cp|mkdir|unlink|rm)/
    expect(imported?.join('\n') ?? '', name).not.toMatch(writing)
  }
})

test('every verb prints through the one place that makes text safe', async () => {
  const { readdir } = await import('node:fs/promises')
  const folder = fileURLToPath(new URL('../../src/cli', import.meta.url))
  const files = (await readdir(folder)).map((name) => join(folder, name))
  for (const file of [CLI, ...files].filter((name) => !name.endsWith('/output.ts'))) {
    expect(await readFile(file, 'utf8'), file).not.toMatch(
      /process\.std(out|err)|console\.(log|error|warn|info)|writeSync\([12]/,
    )
  }
})
