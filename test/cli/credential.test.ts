import { execFile } from 'node:child_process'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { freePort } from '../harness/free-port.ts'
import { holdSockets } from '../harness/held-sockets.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { asUser } from '../harness/networks.ts'
import { CLI } from '../harness/programs.ts'

const run = promisify(execFile)
const isRoot = process.getuid?.() === 0
const APP = 61_002
const OTHER = 61_003
// Credentials are for root alone if no rule says otherwise.
const POLICY = `[[rule]]
name = "the application reads its credentials"
effect = "allow"
users = [${APP}, ${process.getuid?.()}]
paths = ["/*/meta-data/ram/security-credentials/*"]
`

let directory: string
let instance: Instance
let port: number

beforeAll(async () => {
  directory = await mkdtemp('/tmp/credential-')
  await chmod(directory, 0o755)
  port = await freePort()
  const policyFile = join(directory, 'policy.toml')
  await writeFile(policyFile, POLICY)
  const uris = `[credentials_uri]\nenabled = true\nport = ${port}\n`
  const config = `${uris}[policy]\nfile = "${policyFile}"\n`
  instance = await startInstance(directory, { role: 'app-role', config })
})

afterAll(async () => {
  await instance.stop()
  await rm(directory, { recursive: true, force: true })
})

async function as(uid: number | undefined, command: readonly string[], env = {}): Promise<string> {
  const [file = '', ...args] = [...asUser(uid), ...command]
  const options = { timeout: 240_000, env: { ...process.env, ...env } }
  return (await run(file, args, options)).stdout
}

function metabind(uid: number | undefined, args: readonly string[], env = {}): Promise<string> {
  const socket = { METABIND_SOCKET: instance.metadataSocket, HOME: directory }
  return as(uid, [process.execPath, CLI, ...args], { ...socket, ...env })
}

const curl = (uid: number | undefined, ...args: string[]) =>
  as(uid, ['curl', '-sS', '--max-time', '5', ...args])

describe('metabind credential', () => {
  test.each([
    ['of the instance', []],
    ['by name', ['app-role']],
  ])('prints the role %s as SDKs expect it of a process_command', async (_what, args) => {
    const said = JSON.parse(await metabind(undefined, ['credential', ...args]))
    expect(said).toEqual({
      mode: 'StsToken',
      access_key_id: expect.stringMatching(/^STS\./),
      access_key_secret: expect.any(String),
      sts_token: expect.any(String),
      expiration: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
    })
    expect(Date.parse(said.expiration)).toBeGreaterThan(Date.now())
  })

  test('a role that is not there: exit code 1 and nothing on standard output', async () => {
    await expect(metabind(undefined, ['credential', 'other-role'])).rejects.toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('ROLE_ABSENT'),
    })
  })
})

describe.skipIf(!isRoot)('a credentials URL', () => {
  const urlOf = async (uid: number) => (await metabind(uid, ['credential', '--uri'])).trim()

  test('gives its user the credentials', async () => {
    const said = JSON.parse(await curl(APP, await urlOf(APP)))
    expect(said).toMatchObject({ Code: 'Success', AccessKeyId: expect.stringMatching(/^STS\./) })
  })

  test('is judged by the policy like any other way', async () => {
    expect(await curl(OTHER, await urlOf(OTHER))).toMatch(/^POLICY_DENIED: /)
  })

  test('gives nobody else anything, root neither, and says no more than of any wrong path', async () => {
    const url = await urlOf(APP)
    const wrong = await curl(OTHER, `http://127.0.0.1:${port}/metabind/v1/credentials/x/app-role`)
    expect(wrong).toMatch(/^METADATA_ABSENT: /)
    expect(await curl(OTHER, url)).toBe(wrong)
    expect(await curl(undefined, url)).toBe(wrong)
  })

  test('is another one for each user', async () => {
    expect(await urlOf(APP)).not.toBe(await urlOf(OTHER))
  })

  test('outlives a restart of the agent, and not a reboot', async () => {
    const url = await urlOf(APP)
    await instance.restartAgent()
    expect(JSON.parse(await curl(APP, url)).Code).toBe('Success')
    await instance.reboot()
    expect(await curl(APP, url)).toMatch(/^METADATA_ABSENT: /)
    expect(await urlOf(APP)).not.toBe(url)
  })

  test('serves credentials and nothing else', async () => {
    const base = (await urlOf(APP)).split('/').slice(0, -1).join('/')
    const statuses = await Promise.all(
      [
        [`${base}/../../../latest/user-data`, '--path-as-is'],
        [`${base}`],
        [`${base}/app-role/more`],
        [`http://127.0.0.1:${port}/latest/meta-data/instance-id`],
        ['-X', 'PUT', `http://127.0.0.1:${port}/latest/api/token`],
        ['-X', 'PUT', `${base}/app-role`],
        ['-H', 'Origin: http://a', `${base}/app-role`],
        ['-H', 'X-Forwarded-For: 192.0.2.1', `${base}/app-role`],
      ].map((args) => curl(APP, '-o', '/dev/null', '-w', '%{http_code}', ...args)),
    )
    expect(statuses).toEqual(['400', '404', '404', '404', '404', '405', '403', '403'])
  })

  test('leaves its secret in no log', async () => {
    const url = await urlOf(APP)
    const secret = url.split('/').at(-2) ?? ''
    expect(secret).toHaveLength(43)
    await curl(APP, '-H', 'X-Forwarded-For: 192.0.2.1', url)
    const refused = await instance.agent.until(({ code }) => code === 'REQUEST_FORWARDED')
    expect(refused.path).toBe('/metabind/v1/credentials/[secret]/app-role')
    expect(instance.agent.output()).not.toContain(secret)
  })
})

describe('metabind exec', () => {
  const PRINT = ['sh', '-c', 'env | grep -E "^(ALIBABA|METABIND)" | sort']
  const STATIC = { ALIBABA_CLOUD_ACCESS_KEY_ID: 'old', ALIBABA_CLOUD_SECURITY_TOKEN: 'old' }

  test('sets a credentials URL, and takes settings away that would win over it', async () => {
    const said = await metabind(undefined, ['exec', ...PRINT], STATIC)
    expect(said.trim().split('\n')).toEqual([
      'ALIBABA_CLOUD_CLI_PROFILE_DISABLED=true',
      expect.stringMatching(
        `^ALIBABA_CLOUD_CREDENTIALS_URI=http://127.0.0.1:${port}/metabind/v1/credentials/.{43}/app-role$`,
      ),
      'ALIBABA_CLOUD_ECS_METADATA_DISABLED=true',
      'ALIBABA_CLOUD_IMDSV1_DISABLED=true',
      `METABIND_SOCKET=${instance.metadataSocket}`,
    ])
  })

  test('--with env sets the credentials themselves', async () => {
    const said = await metabind(undefined, ['exec', '--with', 'env', '--', ...PRINT], STATIC)
    expect(said).toMatch(/^ALIBABA_CLOUD_ACCESS_KEY_ID=STS\./m)
    expect(said).toMatch(/^ALIBABA_CLOUD_SECURITY_TOKEN=(?!old)/m)
    expect(said).not.toContain('CREDENTIALS_URI')
  })

  test('becomes the command: its process, its options, its exit code', async () => {
    const script = 'echo "$1"; exit 7'
    await expect(
      metabind(undefined, ['exec', '--role=app-role', 'sh', '-c', script, 'sh', '--help']),
    ).rejects.toMatchObject({ code: 7, stdout: '--help\n' })
  })

  test.each([
    ['no command', [], /COMMAND is missing/],
    ['an unknown way', ['--with', 'magic', 'true'], /--with takes uri or env/],
  ])('%s is wrong usage', async (_what, args, message) => {
    await expect(metabind(undefined, ['exec', ...args])).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringMatching(message),
    })
  })
})

test.each([
  ['no-such-command', 127],
  ['/etc/passwd', 126],
])('a command that cannot be run has the exit code of a shell: %s', async (command, code) => {
  await expect(metabind(undefined, ['exec', command])).rejects.toMatchObject({ code, stdout: '' })
})

test.each([
  [{}, '127.0.0.1', '127.0.0.1'],
  [{ no_proxy: 'a, b' }, 'a,b,127.0.0.1', 'a,b,127.0.0.1'],
  [{ NO_PROXY: 'a' }, 'a,127.0.0.1', 'a,127.0.0.1'],
  [{ no_proxy: 'a', NO_PROXY: 'b' }, 'a,127.0.0.1', 'b,127.0.0.1'],
  [{ no_proxy: '*', NO_PROXY: '127.0.0.1,c' }, '*', '127.0.0.1,c'],
])('the credentials URL goes to no proxy: %j', async (before, lower, upper) => {
  const said = await metabind(undefined, ['exec', 'printenv', 'no_proxy', 'NO_PROXY'], before)
  expect(said).toBe(`${lower}\n${upper}\n`)
})

test('without the listener the command line says how to go on', async () => {
  const other = await mkdtemp('/tmp/credential-')
  const plain = await startInstance(other)
  const env = { METABIND_SOCKET: plain.metadataSocket }
  await expect(metabind(undefined, ['exec', 'true'], env)).rejects.toMatchObject({
    stderr: expect.stringMatching(/LISTEN_URI_OFF: .* metabind exec --with env/),
  })
  await plain.stop()
  await rm(other, { recursive: true, force: true })
})

test.skipIf(!isRoot)(
  'where nobody could be named nobody gets a credentials URL, and is told why [needs root]',
  async () => {
    const home = await mkdtemp('/tmp/credential-')
    const hidden = 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"'
    const unplaced = await startInstance(home, {
      config: `[credentials_uri]\nenabled = true\nport = ${await freePort()}\n`,
      agent: {
        through: ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', hidden, 'sh'],
      },
    })
    onTestFinished(async () => {
      await unplaced.stop()
      await rm(home, { recursive: true, force: true })
    })
    const env = { METABIND_SOCKET: unplaced.metadataSocket }
    for (const args of [
      ['exec', 'true'],
      ['credential', '--uri'],
    ]) {
      await expect(metabind(undefined, args, env)).rejects.toMatchObject({
        stderr: expect.stringMatching(/LISTEN_URI_UNNAMED: .* metabind exec --with env/),
      })
    }
    expect(await metabind(undefined, ['exec', '--with', 'env', 'echo', 'ran'], env)).toBe('ran\n')
  },
)

describe.skipIf(!isRoot)('a port of credentials URLs that systemd holds', () => {
  /** An instance whose own setting is off: the socket turns the URLs on. */
  async function heldInstance(held: number, configured: number): Promise<Instance> {
    const home = await mkdtemp('/tmp/credential-held-')
    const sockets = holdSockets({ 'credentials-uri': held })
    onTestFinished(async () => {
      sockets.close()
      await rm(home, { recursive: true, force: true })
    })
    const config = `[credentials_uri]\nport = ${configured}\n`
    return startInstance(home, { role: 'app-role', config, agent: sockets.agent })
  }

  test('can be taken by nobody while no agent runs, and callers wait for the next', async () => {
    const uriPort = await freePort()
    const one = await heldInstance(uriPort, uriPort)
    onTestFinished(() => one.stop())
    const env = { METABIND_SOCKET: one.metadataSocket }
    const url = (await metabind(undefined, ['credential', '--uri'], env)).trim()
    expect(JSON.parse(await curl(undefined, url)).Code).toBe('Success')
    await one.agent.stop()
    const taken = new Promise((resolve) => {
      createServer().once('error', resolve).once('listening', resolve).listen(uriPort, '127.0.0.1')
    })
    expect(await taken).toMatchObject({ code: 'EADDRINUSE' })
    const waiting = as(undefined, ['curl', '-sS', '--max-time', '60', url])
    await one.restartAgent()
    expect(JSON.parse(await waiting).Code).toBe('Success')
  })

  test('must be the configured one', async () => {
    const held = await freePort()
    const starting = heldInstance(held, (await freePort()) + 1)
    await expect(starting).rejects.toThrow(/metabind-credentials-uri\.socket does not listen on/)
  })
})
