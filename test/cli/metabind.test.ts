import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startSimulator } from '../../src/simulate/simulator.ts'
import { unwrapEvidence } from '../../src/verify/index.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import {
  type CommandOptions,
  metabind,
  NOBODY,
  newToken,
  scratch,
  statusOf,
} from '../harness/metabind.ts'
import { CLI } from '../harness/programs.ts'

/** The real command against a real agent. */

const VERBS = ['status', 'token', 'get', 'inspect', 'revoke', 'config', 'simulate']
const TOKEN_LINE = /^[A-Za-z0-9_-]{86}\n$/
// Every byte there is, and what is no UTF-8.
const USER_DATA = Buffer.concat([
  Buffer.from(Array.from({ length: 256 }, (_, at) => at)),
  Buffer.from('ff00fe0d0a80', 'hex'),
  Buffer.alloc(200_000, 0x9f),
])

const stack = new AsyncDisposableStack()
let instance: Instance
let taken: string
let directory: string

beforeAll(async () => {
  const cloud = stack.use(
    await startSimulator({ instanceId: 'i-cli', userData: USER_DATA, role: 'app-role' }),
  )
  taken = cloud.url
  const { path } = stack.use(await scratch())
  instance = await startInstance(path, {
    source: cloud.url,
    // Bodies on the metadata socket mean nothing; those of the admin socket do not come under this.
    config: '[limits]\nbody_bytes_max = 1\n',
  })
  stack.defer(() => instance.stop())
  directory = stack.use(await scratch()).path
})
afterAll(() => stack.disposeAsync())

const at = (name: string) => join(directory, name)
const run = (args: readonly string[], options?: CommandOptions) => metabind(instance, args, options)
const absent = { metadataSocket: '/nonexistent/m.sock', adminSocket: '/nonexistent/a.sock' }

async function tokenFile(name: string, token?: string): Promise<string> {
  await writeFile(at(name), token ?? (await newToken(instance)), { mode: 0o644 })
  return at(name)
}

/** An error is one line with a code that says what to try, and nothing on standard output. */
function expectError(
  finished: Awaited<ReturnType<typeof run>>,
  code: number,
  line: RegExp | string,
): void {
  expect(finished.stdout).toBe('')
  expect(finished.stderr).toMatch(/^metabind: [^\n]+\n$/)
  if (typeof line === 'string') expect(finished.stderr).toBe(`metabind: ${line}\n`)
  else expect(finished.stderr).toMatch(line)
  expect(finished.code).toBe(code)
}

describe.concurrent('help', () => {
  test.each([[[]], [['--help']], [['help']]])('%j lists every verb', async (args) => {
    const { code, stdout, stderr } = await run(args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const verb of VERBS) expect(stdout).toMatch(new RegExp(`^  ${verb} +\\S`, 'm'))
  })

  test.each(VERBS)('%s --help', async (verb) => {
    const { code, stdout, stderr } = await run([verb, '--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(new RegExp(`^Usage: metabind ${verb}\\b`))
    expect(stdout).toMatch(/^ +-h, --help +print this text$/m)
    expect(stdout.endsWith('\n')).toBe(true)
  })

  test('--version', async () => {
    const { code, stdout } = await run(['--version'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^metabind \d+\.\d+\.\d+\n$/)
  })
})

describe.concurrent('wrong usage is exit 2', () => {
  test.each([
    [['statsu'], "there is no verb 'statsu'; did you mean 'status'? (try metabind --help)"],
    [['constructor'], "there is no verb 'constructor' (try metabind --help)"],
    [['--verbose'], "there is no verb '--verbose' (try metabind --help)"],
    [['get'], 'PATH is missing (try metabind get --help)'],
    [['help', 'polcy'], "there is no verb 'polcy'; did you mean 'policy'? (try metabind --help)"],
    [
      ['status', '--jsno'],
      "there is no option '--jsno'; did you mean '--json'? (try metabind status --help)",
    ],
    [
      ['simulate', '--prot', '1'],
      "there is no option '--prot'; did you mean '--port'? (try metabind simulate --help)",
    ],
    [['status', '-j'], "there is no option '-j' (try metabind status --help)"],
    [['status', '--json=1'], '--json takes no value (try metabind status --help)'],
    [['status', '--socket'], '--socket needs a value (try metabind status --help)'],
    [
      ['status', '--socket', '--json'],
      "--socket needs a value; if it is '--json', write --socket=--json (try metabind status --help)",
    ],
    [['config'], 'config takes a word: check (try metabind config --help)'],
    [
      ['policy', 'chekc'],
      "there is no 'policy chekc'; did you mean 'policy check'? (try metabind policy --help)",
    ],
    [
      ['verify', 'chalenge', 'x'],
      "there is no 'verify chalenge'; did you mean 'verify challenge'? (try metabind verify --help)",
    ],
    [
      ['lockdown', 'off', '--for', '1h'],
      "--for belongs to 'lockdown on', not to 'lockdown off' (try metabind lockdown --help)",
    ],
    [
      ['evidence'],
      '--nonce is missing: 16 to 64 bytes in hex, which the verifier has chosen (try metabind evidence --help)',
    ],
    [
      ['simulate', '--cloud', 'ec3'],
      "--cloud takes aliyun or ec2, not 'ec3'; did you mean 'ec2'? (try metabind simulate --help)",
    ],
    [['revoke'], 'give either --all or a FILE with a token (try metabind revoke --help)'],
    [
      ['revoke', '--all', 'f'],
      'give either --all or a FILE with a token (try metabind revoke --help)',
    ],
    ...['0', '-5', '21601', '7h', '1.5', '1w', ''].map((ttl): [string[], string] => [
      ['token', '--ttl', ttl],
      `--ttl takes a duration from 1s to 6h, such as 600, 10m or 2h, not '${ttl}' (try metabind token --help)`,
    ]),
    // What was typed is looked at before anything else: neither file is there.
    [
      ['lockdown', 'on', '--for', '1y', '--config', '/nonexistent'],
      "--for takes a duration from 1s to 7d, such as 600, 10m or 2h, not '1y' (try metabind lockdown --help)",
    ],
    [
      ['simulate', '--user-data', '/nonexistent', '--credential-lifetime', '13h'],
      "--credential-lifetime takes a duration from 1s to 12h, such as 600, 10m or 2h, not '13h' (try metabind simulate --help)",
    ],
    [
      ['exec', '--with', 'x', '/nonexistent'],
      "--with takes uri or env, not 'x' (try metabind exec --help)",
    ],
  ])('%j', async (args, line) => {
    expectError(await run(args), 2, line)
  })

  test.each([
    ...[
      ['status', '--jsno'],
      ['status', 'x'],
      ['get', 'a', 'b'],
      ['token', 'x'],
    ],
    ...[
      ['token', '--ttl'],
      ['token', '--ttl', '1.5'],
      ['token', '--ttl', '-1'],
    ],
    ...[
      ['inspect', 'a', 'b'],
      ['inspect', '--socket'],
      ['status', '--json=yes'],
    ],
  ])('%s %s %s', async (verb, ...args) => {
    const expected = new RegExp(`^metabind: .+ \\(try metabind ${verb} --help\\)\n$`)
    expectError(await run([verb ?? '', ...args.filter((arg) => arg !== undefined)]), 2, expected)
  })
})

describe('status', () => {
  test('says in lines what the agent is', async () => {
    const { code, stdout } = await run(['status'])
    expect(code).toBe(0)
    expect(stdout).toMatch(/^state +ready\ninstance +i-cli\nidentity +[0-9a-f]{32}\n/)
    expect(stdout).toContain(`sockets   ${instance.metadataSocket}, ${instance.adminSocket}\n`)
  })

  test('--json says the same for programs', async () => {
    const { code, stdout } = await run(['status', '--json'])
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({
      state: 'ready',
      ready: true,
      identity: { dialect: 'aliyun', instanceId: 'i-cli' },
      tpm: { tcti: instance.tpm.tcti, ek: 'P-256' },
      sockets: { metadata: instance.metadataSocket, admin: instance.adminSocket },
    })
  })

  test('a deeply nested question is refused, and the agent goes on', async () => {
    const deep = ['['.repeat(60_000), `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`]
    for (const body of deep) {
      const asked = {
        socketPath: instance.adminSocket,
        method: 'POST',
        path: '/metabind/v1/explain',
      }
      const headers = { 'content-type': 'application/json' }
      const status = await new Promise((resolve, reject) => {
        request({ ...asked, headers }, (answer) => resolve(answer.resume().statusCode))
          .on('error', reject)
          .end(body)
      })
      expect(status).toBe(400)
    }
    expect(await run(['status'])).toMatchObject({ code: 0 })
  })

  test('a metadata socket that is named and is not there is said, and is exit 1', async () => {
    const named = { metadataSocket: '/nonexistent/m.sock', adminSocket: instance.adminSocket }
    const { code, stdout, stderr } = await metabind(named, ['status'])
    expect(stdout).toMatch(/^state +ready\n/)
    expect(stderr).toMatch(/^metabind: SOCKET_ABSENT: .* \/nonexistent\/m\.sock\. /)
    expect(code).toBe(1)
  })

  test('--admin-socket wins over the environment', async () => {
    const elsewhere = { env: { METABIND_ADMIN_SOCKET: '/nonexistent/a.sock' } }
    const asked = ['status', '--admin-socket', instance.adminSocket]
    expect(await run(asked, elsewhere)).toMatchObject({ code: 0 })
    expectError(await run(['status'], elsewhere), 1, /SOCKET_ABSENT: .*\/nonexistent\/a\.sock/)
  })
})

describe.concurrent('errors say what to try', () => {
  test.each([['status'], ['token'], ['get', 'mac'], ['inspect'], ['revoke', '--all']])(
    'no agent: %s',
    async (...args) => {
      const line = /^metabind: SOCKET_ABSENT: No agent listens on the socket\. .*Start the agent/
      expectError(await metabind(absent, args), 1, line)
    },
  )

  test.each([['status'], ['revoke', '--all']])(
    'not permitted: %s as another user',
    async (...args) => {
      const line = /^metabind: SOCKET_NOT_PERMITTED: .*Become root or a member of the group/
      expectError(await run(args, { uid: NOBODY }), 1, line)
    },
  )

  test('a path that does not exist', async () => {
    expectError(await run(['get', 'no-such']), 1, /METADATA_ABSENT: .* List the parent path/)
    expectError(await run(['get', '/latest/../x']), 1, /REQUEST_PATH: .* Use a plain absolute path/)
  })

  test('a metadata socket that was removed, beside an agent that is ready', async () => {
    const removed = { metadataSocket: at('removed.sock'), adminSocket: instance.adminSocket }
    for (const args of [['get', 'mac'], ['token'], ['credential']]) {
      expectError(await metabind(removed, args), 1, /SOCKET_ABSENT: .*removed\.sock/)
    }
  })

  test('what is no socket is called what it is', async () => {
    const { metadataSocket, adminSocket } = instance
    await writeFile(at('not-a-socket'), '')
    for (const [path, kind] of [
      [at('not-a-socket'), 'is not a socket'],
      [directory, 'is a directory, not a socket'],
    ]) {
      const line = new RegExp(
        `^metabind: SOCKET_ABSENT: .* ${path} ${kind}\\. .*--admin-socket\\.\n$`,
      )
      expectError(await metabind({ metadataSocket, adminSocket: path ?? '' }, ['status']), 1, line)
      expectError(await metabind({ metadataSocket: path ?? '', adminSocket }, ['token']), 1, line)
    }
  })

  test('a folder that one may not enter is a file that cannot be used', async () => {
    mkdirSync(at('closed'), { mode: 0o700 })
    const line = `FILE_UNUSABLE: The file cannot be used. ${at('closed/token')}: this user may not use it. Check its path, kind and permissions.`
    expectError(await run(['token', '--out', at('closed/token')], { uid: NOBODY }), 1, line)
    expectError(
      await run(['get', 'mac', '--token-file', at('closed/token')], { uid: NOBODY }),
      1,
      line,
    )
  })

  test('a folder in place of a file is called one, whichever verb reads it', async () => {
    const nonce = ['--nonce', 'ab'.repeat(16)]
    for (const args of [
      ['config', 'check', directory],
      ['policy', 'check', directory],
      ['policy', 'suggest', directory],
      ['inspect', directory],
      ['revoke', directory],
      ['activate', directory],
      ['audit', 'verify', directory],
      ['verify', directory, ...nonce],
      ['get', 'mac', '--token-file', directory],
      ['token', '--out', directory],
      ['lockdown', 'on', '--rules', '--config', directory],
      ['simulate', '--user-data', directory],
      ['simulate', '--certificate-out', directory],
    ]) {
      expectError(await run(args), 1, new RegExp(`${directory}: it is a directory\\.`))
    }
    expectError(await metabind(absent, ['audit', 'verify', at('none')]), 1, /it is not there\./)
  })

  test('no line has the name of an error of the system', async () => {
    for (const args of [
      ['config', 'check', at('none')],
      ['policy', 'suggest', at('none')],
      ['audit', 'verify', at('none')],
      ['verify', at('none'), '--nonce', 'ab'.repeat(16)],
      ['verify', at('none'), '--nonce', 'ab'.repeat(16), '--anchors', at('none')],
      ['simulate', '--user-data', at('none')],
      ['simulate', '--socket', at('none/socket')],
      ['simulate', '--host', '192.0.2.1'],
      ['simulate', '--certificate-out', at('none/file')],
      ['token', '--out', at('none/file')],
      ['status', '--admin-socket', `/${'x'.repeat(300)}`],
    ]) {
      const { stderr, code } = await run(args)
      expect(stderr).toMatch(/^metabind: [A-Z_]+: /)
      expect(stderr).not.toMatch(/\bE[A-Z]{4,}\b|syscall/)
      expect(code).toBe(1)
    }
  })

  test('a role that the instance has not: which it has', async () => {
    expectError(
      await run(['credential', 'nosuchrole']),
      1,
      "ROLE_ABSENT: The instance has no such role. It has 'app-role', not 'nosuchrole'. Leave the role out to take the one that there is, or attach it to the instance.",
    )
    expectError(await run(['exec', '--with', 'env', '--role', 'x', 'true']), 1, /has 'app-role'/)
  })

  test('a user that nobody knows is no wrong usage', async () => {
    expectError(await run(['explain', 'nosuchuser', 'mac']), 1, /^metabind: ACCOUNT_ABSENT: /)
  })

  test('lockdown on --rules needs no agent, and no configuration of one', async () => {
    const args = ['lockdown', 'on', '--rules', '--user', 'nobody', '--config', '/dev/null']
    const { code, stdout, stderr } = await metabind(absent, args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('table ip metabind')
    expectError(
      await metabind(absent, ['lockdown', 'on', '--rules', '--user', 'nosuchuser']),
      1,
      /There is no user nosuchuser; --user names the agent's\./,
    )
  })

  test('a simulator whose port is taken does not speak of the agent', async () => {
    const { port } = new URL(taken)
    const { stdout, stderr, code } = await run(['simulate', '--port', port])
    expect({ stdout, stderr, code }).toEqual({
      stdout: '',
      stderr: `metabind: LISTEN_SIMULATOR: The simulator cannot listen there. 127.0.0.1:${port}: something listens there already. Take another --port, --host or --socket; without --port it takes a free port.\n`,
      code: 1,
    })
  })
})

describe('token', () => {
  test('prints one line, good for the lifetime asked for', async () => {
    const { code, stdout, stderr } = await run(['token', '--ttl', '90'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(TOKEN_LINE)
    const inspected = await run(['inspect', '--json', '-'], { stdin: stdout })
    expect(JSON.parse(inspected.stdout)).toEqual({
      schema: 'metabind.inspect/1',
      valid: true,
      iid: expect.stringMatching(/^[0-9a-f]{32}$/),
      uid: process.getuid?.(),
      boundToUid: true,
      boundToUnit: false,
      secondsLeft: expect.toSatisfy((left: number) => left > 80 && left <= 90),
    })
  })

  test('lives for an hour where nothing is said', async () => {
    const { stdout } = await run(['token'])
    const inspected = await run(['inspect', '--json'], { stdin: stdout })
    expect(JSON.parse(inspected.stdout).secondsLeft).toBeGreaterThan(3590)
  })

  test('--out writes a file of mode 0600, whole, with nothing beside it', async () => {
    mkdirSync(at('out'))
    const file = at('out/token')
    expect(await run(['token', '--out', file])).toMatchObject({ code: 0, stdout: '', stderr: '' })
    expect(statSync(file).mode & 0o7777).toBe(0o600)
    const first = readFileSync(file, 'utf8')
    expect(`${first}\n`).toMatch(TOKEN_LINE)
    expect(await statusOf(instance, first)).toBe(200)

    // In place of a wide open one there is a new file, not the old one with new content.
    chmodSync(file, 0o666)
    const { ino } = statSync(file)
    expect(await run(['token', '--out', file])).toMatchObject({ code: 0 })
    expect(statSync(file).mode & 0o7777).toBe(0o600)
    expect(statSync(file).ino).not.toBe(ino)
    expect(readFileSync(file, 'utf8')).not.toBe(first)
    expect(readdirSync(at('out'))).toEqual(['token'])
  })

  test.each([
    ['a symbolic link', () => symlinkSync('victim', at('refused/token'))],
    ['a FIFO', () => execFileSync('mkfifo', [at('refused/token')])],
    ['a directory', () => mkdirSync(at('refused/token'))],
  ])('--out is refused where %s is', async (_what, make) => {
    execFileSync('rm', ['-rf', at('refused')])
    mkdirSync(at('refused'))
    await writeFile(at('refused/victim'), 'untouched')
    make()
    const line = /FILE_UNUSABLE: .*token: it is (a|not) [a-z ]+\. Check its path/
    expectError(await run(['token', '--out', at('refused/token')]), 1, line)
    expect(readFileSync(at('refused/victim'), 'utf8')).toBe('untouched')
    expect(readdirSync(at('refused'))).toEqual(['token', 'victim'])
  })

  test('--out is refused where the directory is missing', async () => {
    expectError(await run(['token', '--out', at('none/token')]), 1, /FILE_UNUSABLE: .*not there/)
  })

  test('--out is refused where one may not write', async () => {
    const line = /FILE_UNUSABLE: .*this user may not use it/
    expectError(await run(['token', '--out', at('token-of-nobody')], { uid: NOBODY }), 1, line)
  })
})

describe('get', () => {
  test('completes a short path', async () => {
    expect(await run(['get', 'instance-id'])).toMatchObject({ code: 0, stdout: 'i-cli' })
    const whole = await run(['get', '/latest/meta-data/instance-id'])
    expect(whole).toMatchObject({ code: 0, stdout: 'i-cli', stderr: '' })
  })

  test.each(['/latest/user-data', 'user-data'])(
    'passes bytes through unchanged: %s',
    async (path) => {
      const { code, bytes } = await run(['get', path])
      expect(code).toBe(0)
      expect(bytes.equals(USER_DATA)).toBe(true)
    },
  )

  test.each(['dynamic/instance-identity/document', 'meta-data/instance-id'])(
    'completes what stands beside meta-data: %s',
    async (path) => {
      expect(await run(['get', path])).toMatchObject({ code: 0, stderr: '' })
    },
  )

  test('works for another user', async () => {
    const { code, stdout } = await run(['get', '/metabind/v1/whoami'], { uid: NOBODY })
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ uid: NOBODY, gid: NOBODY })
  })

  test('uses the token of a file, or of standard input', async () => {
    const file = await tokenFile('get-token')
    expect(await run(['get', 'instance-id', '--token-file', file])).toMatchObject({ code: 0 })
    const stdin = `${readFileSync(file, 'utf8')}\n`
    const asked = ['get', 'instance-id', '--token-file', '-']
    expect(await run(asked, { stdin })).toMatchObject({ code: 0, stdout: 'i-cli' })
    expectError(await run(asked, { stdin: 'not-a-token' }), 1, /TOKEN_INVALID: .*Make a new token/)
    expectError(await run(asked, { stdin: 'two\nlines' }), 1, /- does not hold a token/)
  })

  test("refuses another user's token, and says whose", async () => {
    const file = await tokenFile('token-of-root')
    const asked = ['get', 'instance-id', '--token-file', file]
    expectError(await run(asked, { uid: NOBODY }), 1, /TOKEN_CALLER: .*token\.bind/)
  })

  test('a token file that is none', async () => {
    const asked = (file: string) => run(['get', 'mac', '--token-file', file])
    expectError(await asked(at('no-such-file')), 1, /FILE_UNUSABLE: .*not there/)
    symlinkSync('get-token', at('token-link'))
    expectError(await asked(at('token-link')), 1, /FILE_UNUSABLE: .*a symbolic link/)
    expectError(await asked('/dev/null'), 1, /FILE_UNUSABLE: .*not a regular file/)
  })

  test('a pipe is read as a file is, whichever verb reads it', async () => {
    await tokenFile('piped')
    await writeFile(at('piped.toml'), '[token]\nmax_ttl_seconds = 60\n')
    await writeFile(at('piped-policy.toml'), 'mode = "audit"\n')
    const verb = `${process.execPath} ${CLI}`
    for (const [command, said] of [
      [`get instance-id --token-file <(cat ${at('piped')})`, /^i-cli$/],
      [`inspect <(cat ${at('piped')})`, /^valid: /],
      [`config check <(cat ${at('piped.toml')})`, /^\/dev\/fd\/\d+: valid$/],
      [`policy check <(cat ${at('piped-policy.toml')})`, /: valid, 0 rules, mode audit$/],
      [`revoke <(cat ${at('piped')})`, /^$/],
    ] as const) {
      const { metadataSocket, adminSocket } = instance
      const env = { METABIND_SOCKET: metadataSocket, METABIND_ADMIN_SOCKET: adminSocket }
      const done = spawnSync('bash', ['-c', `${verb} ${command}`], {
        env: { ...process.env, ...env },
        encoding: 'utf8',
      })
      expect({ code: done.status, stderr: done.stderr }).toEqual({ code: 0, stderr: '' })
      expect(done.stdout.trimEnd()).toMatch(said)
    }
  })

  test('a pipe with a name is refused, and not waited for', async () => {
    execFileSync('mkfifo', [at('token-fifo')])
    const asked = await run(['get', 'instance-id', '--token-file', at('token-fifo')])
    expect(asked).toMatchObject({ code: 1, stdout: '' })
    expect(asked.stderr).toContain('token-fifo: it is not a regular file.')
  })
})

describe('inspect', () => {
  test('0: valid', async () => {
    const finished = await run(['inspect', await tokenFile('valid')])
    expect(finished).toMatchObject({ code: 0, stderr: '' })
    expect(finished.stdout).toMatch(
      new RegExp(
        `^valid: made on this instance, for uid ${process.getuid?.()} only, for \\d+ s more\n$`,
      ),
    )
  })

  test('3: expired', async () => {
    const file = await tokenFile('expired', await newToken(instance, 1))
    await new Promise((resolve) => setTimeout(resolve, 1001))
    const finished = await run(['inspect', file])
    expect(finished).toMatchObject({
      code: 3,
      stdout: 'not valid: TOKEN_EXPIRED: The session token has expired.\n',
    })
  })

  // 4, made on another instance, is in test/flow/copies.test.ts.

  test.each([
    ['forged', 'TOKEN_FORGED', (token: string) => changed(token, 60)],
    ['of another version', 'TOKEN_VERSION', (token: string) => changed(token, 0)],
    ['of a later hour', 'TOKEN_EPOCH', (token: string) => changed(token, 2)],
    ['cut', 'TOKEN_MALFORMED', (token: string) => token.slice(1)],
    ['empty', 'TOKEN_MALFORMED', () => ''],
    ['a page of text', 'TOKEN_MALFORMED', () => 'text '.repeat(600)],
    ['far too long', 'TOKEN_MALFORMED', (token: string) => token.repeat(100)],
    ['binary', 'TOKEN_MALFORMED', () => '\u0000\u0001'.repeat(2000)],
  ])('5: %s', async (_what, code, change) => {
    const stdin = change(await newToken(instance))
    const finished = await run(['inspect', '--json'], { stdin })
    expect(finished).toMatchObject({ code: 5, stderr: '' })
    expect(JSON.parse(finished.stdout)).toMatchObject({ valid: false, code })
  })

  test('5: revoked', async () => {
    const file = await tokenFile('revoked')
    await run(['revoke', file])
    expect(await run(['inspect', file])).toMatchObject({ code: 5 })
  })

  test("6: another caller's", async () => {
    const made = await run(['token'], { uid: NOBODY })
    const finished = await run(['inspect', '-'], { stdin: made.stdout })
    expect(finished).toMatchObject({
      code: 6,
      stdout: `not valid: TOKEN_CALLER: The session token belongs to another caller. (made for uid ${NOBODY})\n`,
    })
  })

  test('never prints the token', async () => {
    const token = await newToken(instance)
    for (const args of [['inspect'], ['inspect', '--json']]) {
      const { stdout, stderr } = await run(args, { stdin: token })
      expect(stdout + stderr).not.toContain(token)
    }
  })
})

describe('revoke', () => {
  test('one token, from a file or standard input, and no other', async () => {
    const [first, second, third] = [
      await newToken(instance),
      await newToken(instance),
      await newToken(instance),
    ]
    expect(await run(['revoke', await tokenFile('one', first)])).toMatchObject({ code: 0 })
    expect(await run(['revoke', '-'], { stdin: `${second}\n` })).toMatchObject({
      code: 0,
      stdout: '',
    })
    expect(await statusOf(instance, first ?? '')).toBe(401)
    expect(await statusOf(instance, second ?? '')).toBe(401)
    expect(await statusOf(instance, third ?? '')).toBe(200)
    await instance.restartAgent()
    expect(await statusOf(instance, first ?? '')).toBe(401)
    expect(await statusOf(instance, third ?? '')).toBe(200)
  })

  test("another user's, which its holder cannot use any more", async () => {
    const { stdout: stdin } = await run(['token'], { uid: NOBODY })
    expect(await run(['revoke', '-'], { stdin })).toMatchObject({ code: 0 })
    const asked = ['get', 'mac', '--token-file', '-']
    expectError(await run(asked, { uid: NOBODY, stdin }), 1, /TOKEN_INVALID/)
  })

  test('what is no token of here is refused', async () => {
    expectError(await run(['revoke', '-'], { stdin: 'x' }), 1, /TOKEN_/)
    const forged = changed(await newToken(instance), 60)
    expectError(await run(['revoke', '-'], { stdin: forged }), 1, /TOKEN_/)
  })

  test('--all, at once and over a restart', async () => {
    const token = await newToken(instance)
    expect(await run(['revoke', '--all'])).toMatchObject({ code: 0, stdout: '', stderr: '' })
    expect(await statusOf(instance, token)).toBe(401)
    const later = await newToken(instance)
    expect(await statusOf(instance, later)).toBe(200)
    await instance.restartAgent()
    expect(await statusOf(instance, token)).toBe(401)
    expect(await statusOf(instance, later)).toBe(200)
    const revoked = await run(['inspect', '--json'], { stdin: token })
    expect(revoked.code).toBe(5)
  })
})

describe('evidence in a wrapper', () => {
  const NONCE = 'ab'.repeat(32)

  test.each(['json', 'cmw-json', 'cmw-cbor'])('%s is recognised by verify', async (format) => {
    const asked = ['evidence', '--nonce', NONCE, '--format', format]
    expect(await run([...asked, '--out', at(format)])).toMatchObject({ code: 0, stderr: '' })
    const document = unwrapEvidence(readFileSync(at(format)))
    expect(JSON.parse(Buffer.from(document).toString())).toMatchObject({ nonce: NONCE })
    expect(readFileSync(at(format)).subarray(0, 1)).toEqual(
      Buffer.from({ json: '7b', 'cmw-json': '5b' }[format] ?? '82', 'hex'),
    )
    // Everything but the pin holds.
    const pinned = ['verify', at(format), '--nonce', NONCE, '--pin-ek', '00'.repeat(32)]
    expect((await run(pinned)).stderr).toMatch(/^metabind: VERIFY_UNANCHORED: /)
  })

  test('to standard output: bytes of CBOR, a line of JSON', async () => {
    const printed = await run(['evidence', '--nonce', NONCE, '--format', 'cmw-json'])
    expect(JSON.parse(printed.stdout)).toHaveLength(2)
    const json = ['evidence', '--nonce', NONCE, '--format', 'cmw-cbor', '--json']
    expect(await run(json)).toMatchObject({ code: 2, stdout: '' })
  })
})

describe('config check', () => {
  test('of a good file', async () => {
    const file = at('good.toml')
    await writeFile(file, '[token]\nmax_ttl_seconds = 60\n')
    expect(await run(['config', 'check', file])).toMatchObject({
      code: 0,
      stdout: `${file}: valid\n`,
    })
  })

  test('of a bad one names file, line and key', async () => {
    const file = at('bad.toml')
    await writeFile(file, '[token]\n\nmax_tll_seconds = 60\n')
    const line = `CONFIG_INVALID: The configuration is not valid. ${file}:3: token.max_tll_seconds: unknown key. Correct the line; metabind config check FILE, of a registrar metabind-registrar check, tries it.`
    expectError(await run(['config', 'check', file]), 1, line)
    const json = await run(['config', 'check', file, '--json'])
    expect({ ...json, stdout: JSON.parse(json.stdout) }).toMatchObject({
      code: 1,
      stdout: { valid: false, file, code: 'CONFIG_INVALID' },
    })
    expectError(
      await run(['config', 'check', at('none.toml')]),
      1,
      /CONFIG_UNREADABLE: .*none\.toml: it is not there\. Check its path/,
    )
  })

  test.each([
    ['[token]\nmax_ttl_seconds = "60"', 'token.max_ttl_seconds: must be a number.'],
    ['[token]\nmax_ttl_seconds = 1.5', 'token.max_ttl_seconds: must be a whole number.'],
    ['[token]\nmax_ttl_seconds = 0', 'token.max_ttl_seconds: must be at least 1.'],
    ['[token]\nmax_ttl_seconds = 30000', 'token.max_ttl_seconds: must be at most 21600.'],
    ['[limits]\nmints_per_second = true', 'limits.mints_per_second: must be a number.'],
    ['[transparent]\nenabled = "yes"', 'transparent.enabled: must be true or false.'],
    ['[log]\nlevel = 3', 'log.level: must be "error" or "warn" or "info" or "debug".'],
    ['[tpm]\npcrs = 7', 'tpm.pcrs: must be a list in [ ].'],
    ['[tpm]\npcrs = []', 'tpm.pcrs: must have at least 1 entries.'],
    ['tpm = 7', 'tpm: must be a table of keys.'],
    ['[policy]\nfile = 7', 'policy.file: must be text in quotes.'],
  ])('of a wrong type says what it must be: %j', async (text, reason) => {
    const file = at('type.toml')
    await writeFile(file, `${text}\n`)
    const { code, stderr } = await run(['config', 'check', file])
    expect(code).toBe(1)
    expect(stderr).toContain(`: ${reason} Correct the line`)
    expect(stderr).not.toMatch(/expected|received|Invalid (input|option)/)
  })
})

/** `token` with one byte changed. */
function changed(token: string, byte: number): string {
  const bytes = Buffer.from(token, 'base64url')
  bytes[byte] = (bytes[byte] ?? 0) ^ 0x10
  return bytes.toString('base64url')
}
