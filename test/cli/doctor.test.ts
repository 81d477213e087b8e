import { execFile } from 'node:child_process'
import {
  chmod,
  chown,
  lchown,
  mkdir,
  mkdtemp,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { NOBODY } from '../harness/as-uid.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { CLI } from '../harness/programs.ts'

const run = promisify(execFile)
const isRoot = process.getuid?.() === 0

let directory: string
let instance: Instance
let home: string

beforeAll(async () => {
  directory = await mkdtemp('/tmp/doctor-')
  await chmod(directory, 0o755)
  instance = await startInstance(directory, { config: '' })
})

afterAll(async () => {
  await instance.stop()
  await rm(directory, { recursive: true, force: true })
})

beforeEach(async () => {
  home = await mkdtemp(join(directory, 'home-'))
})

interface Said {
  readonly code: number
  readonly ids: string[]
  readonly text: string
}

const doctor = (...more: string[]) => doctorThrough([], ...more)

/** @param through a command that it is run through */
async function doctorThrough(through: readonly string[], ...more: string[]): Promise<Said> {
  const config = [
    '--config',
    join(directory, 'instance.toml'),
    '--config',
    join(directory, 'more.toml'),
  ]
  const sockets = ['--socket', instance.metadataSocket, '--admin-socket', instance.adminSocket]
  const command = [process.execPath, CLI, 'doctor', '--json', ...config, ...sockets, ...more]
  const [file = '', ...args] = [...through, ...command]
  const options = { timeout: 240_000, env: { ...process.env, HOME: home } }
  const { code, stdout } = await run(file, args, options).then(
    ({ stdout }) => ({ code: 0, stdout }),
    (error: { code: number; stdout: string }) => error,
  )
  const { findings } = JSON.parse(stdout)
  for (const { remedy } of findings) expect(remedy).not.toBe('')
  return { code, text: stdout, ids: findings.map(({ id }: { id: string }) => id) }
}

function remedyOf({ text }: Said, id: string): string {
  const { findings } = JSON.parse(text)
  return findings.find((finding: { id: string }) => finding.id === id)?.remedy
}

/** What the machine that runs the tests may add: its own cloud-init, kernel and systemd. */
const OF_THE_MACHINE = [
  ...['cloud-init-without-tokens', 'kernel-older'],
  ...['systemd-older', 'cgroups-older'],
]

function ours(said: Said): string[] {
  return said.ids.filter((id) => !OF_THE_MACHINE.includes(id))
}

test('nothing is wrong with an instance as it comes', async () => {
  const said = await doctor()
  expect(ours(said)).toEqual([])
  expect(said.code).toBe(0)
})

test('without --json it says so in words', async () => {
  const args = ['--socket', instance.metadataSocket, '--admin-socket', instance.adminSocket]
  const config = ['--config', join(directory, 'instance.toml')]
  const env = { ...process.env, HOME: home, PATH: '/nonexistent' }
  const { stdout } = await run(process.execPath, [CLI, 'doctor', ...config, ...args], { env })
  expect(stdout).toMatch(/^(?:nothing is wrong\n|hint {4}\w+-older: )/)
})

test('an agent that is away, and the socket that it left', async () => {
  await instance.agent.stop()
  const said = await doctor()
  expect(said.ids).toEqual(expect.arrayContaining(['agent-away', 'no-token']))
  expect(said.code).toBe(1)
  await instance.restartAgent()
})

test('an agent that waits, in its own words', async () => {
  const before = instance.agent
  await before.stop()
  await instance.tpm.kill()
  const restarting = instance.restartAgent()
  while (instance.agent === before) await sleep(10)
  await instance.agent.until(({ msg }) => msg === 'boot waits')
  const said = await doctor()
  await instance.tpm.start()
  await restarting
  expect(said.ids).toContain('agent-not-ready')
  expect(said.text).toMatch(/The agent is not ready \(opening-tpm\)\. .*TPM/)
})

test.skipIf(!isRoot)('an audit file on a disk that is read-only', async () => {
  const config = join(home, 'audit.toml')
  await writeFile(config, `[audit]\nfile = ${JSON.stringify(join(home, 'log', 'audit.log'))}\n`)
  await mkdir(join(home, 'log'))
  const mount = `mount -t tmpfs -o ro tmpfs ${join(home, 'log')} && exec "$@"`
  const inside = ['unshare', '--mount', 'sh', '-c', mount, 'sh']
  expect((await doctorThrough(inside, '--config', config)).ids).toEqual(
    expect.arrayContaining(['audit-file-read-only']),
  )
  expect((await doctor('--config', config)).ids).not.toContain('audit-file-read-only')
})

test('a role that cannot be assumed, with the Code of the cloud and what to do', async () => {
  const path = '/latest/meta-data/ram/security-credentials/demo-role'
  const code = 'AssumeRoleUnauthorizedAccess'
  instance.cloud?.faults.set({ kind: 'credentials', code })
  const tokens = ['--socket', instance.metadataSocket, '--admin-socket', instance.adminSocket]
  const got = await run(process.execPath, [CLI, 'get', ...tokens, path]).catch((error) => error)
  expect(got.stderr).toContain(`Its Code is ${code}.`)
  const said = await doctor()
  expect(said.ids).toContain('role-refused')
  expect(said.text).toContain(`demo-role: ${code}`)
  expect(remedyOf(said, 'role-refused')).toContain('trust policy')
  const status = await run(process.execPath, [CLI, 'status', ...tokens])
  expect(status.stdout).toContain(`demo-role: ${code}`)
  instance.cloud?.faults.clear()
  // A path that failed is asked for again after a second.
  await expect
    .poll(() => run(process.execPath, [CLI, 'get', ...tokens, path]))
    .toHaveProperty('stdout')
  expect((await doctor()).ids).not.toContain('role-refused')
})

test('a configuration that is not valid, with its line', async () => {
  const broken = join(home, 'broken.toml')
  await writeFile(broken, '[token]\nbound = 1\n')
  const said = await doctor('--config', broken)
  expect(said.ids).toContain('configuration')
  expect(said.text).toContain(`${broken}:2: token.bound: unknown key`)
})

test('a configuration that others can write', async () => {
  const loose = join(home, 'loose.toml')
  await writeFile(loose, '')
  await chmod(loose, 0o666)
  expect((await doctor('--config', loose)).ids).toContain('configuration-writable')
  await chmod(loose, 0o644)
  expect((await doctor('--config', loose)).ids).not.toContain('configuration-writable')
})

test.each([
  [
    'an admin socket open to everybody',
    () => instance.adminSocket,
    0o666,
    0o660,
    'admin-socket-open',
  ],
  [
    'a metadata socket closed to applications',
    () => instance.metadataSocket,
    0o660,
    0o666,
    'metadata-socket-closed',
  ],
  [
    'a runtime directory that others can write',
    () => instance.runtimeDirectory,
    0o777,
    0o755,
    'runtime-directory-writable',
  ],
  [
    'a salt that others can read',
    () => join(instance.runtimeDirectory, 'salt'),
    0o644,
    0o600,
    'salt-readable',
  ],
])('%s', async (_what, path, wrong, right, id) => {
  await chmod(path(), wrong)
  expect((await doctor()).ids).toContain(id)
  await chmod(path(), right)
  expect((await doctor()).ids).not.toContain(id)
})

async function sdkConfig(profile: object, mode: number): Promise<void> {
  const path = join(home, '.aliyun', 'config.json')
  await mkdir(join(home, '.aliyun'), { recursive: true })
  await writeFile(
    path,
    JSON.stringify({ current: 'default', profiles: [{ name: 'default', ...profile }] }),
  )
  await chmod(path, mode)
}

const EXTERNAL = { mode: 'External', process_command: 'metabind credential' }

test('an SDK configuration into which the SDK can write credentials', async () => {
  await sdkConfig(EXTERNAL, 0o664)
  expect((await doctor()).ids).toContain('sdk-configuration-writable')
})

test.skipIf(!isRoot)('the remedy makes it so, and does nothing through a link', async () => {
  const path = join(home, '.aliyun', 'config.json')
  const other = join(home, 'other')
  await sdkConfig(EXTERNAL, 0o600)
  await chmod(home, 0o755)
  await chown(path, NOBODY, NOBODY)
  const remedy = remedyOf(await doctor(), 'sdk-configuration-writable')
  await rename(path, other)
  await chown(other, 0, 0)
  await symlink(other, path)
  await lchown(path, NOBODY, NOBODY)
  await expect(run('sh', ['-c', remedy])).rejects.toThrow('not permitted')
  expect((await stat(other)).mode & 0o777).toBe(0o600)
  await rm(path)
  await rename(other, path)
  await chown(path, NOBODY, NOBODY)
  await run('sh', ['-c', remedy])
  expect(await stat(path)).toMatchObject({ uid: 0, gid: NOBODY, mode: 0o100640 })
  expect(ours(await doctor())).toEqual([])
})

test.each([
  ['a pipe', (path: string) => run('mkfifo', [path])],
  ['a device without an end', (path: string) => symlink('/dev/zero', path)],
])('%s in its place is let alone', async (_what, make) => {
  await mkdir(join(home, '.aliyun'))
  await make(join(home, '.aliyun', 'config.json'))
  expect(ours(await doctor())).toEqual([])
})

test.skipIf(!isRoot)("one that is root's and read-only is as it should be", async () => {
  await sdkConfig(EXTERNAL, 0o644)
  expect(ours(await doctor())).toEqual([])
})

test('an SDK configuration that holds credentials already', async () => {
  await sdkConfig({ ...EXTERNAL, access_key_id: 'STS.x', sts_token: 'once-handed-out' }, 0o644)
  const said = await doctor()
  expect(said.ids).toContain('sdk-secret-on-disk')
  expect(said.text).not.toContain('once-handed-out')
})

test('an SDK configuration without a process_command is nobody’s concern here', async () => {
  await sdkConfig({ mode: 'AK', access_key_id: 'x' }, 0o666)
  expect(ours(await doctor())).toEqual([])
})

test.each([
  ['cloud-init 22.4.2', ['cloud-init-without-tokens']],
  ['/usr/bin/cloud-init 23.2.2-0ubuntu0', []],
  ['cloud-init 24.1', []],
])('%s', async (version, expected) => {
  const bin = join(home, 'bin')
  await mkdir(bin)
  await writeFile(join(bin, 'cloud-init'), `#!/bin/sh\necho '${version}'\n`)
  await chmod(join(bin, 'cloud-init'), 0o755)
  const before = process.env.PATH
  process.env.PATH = `${bin}:${before}`
  try {
    expect((await doctor()).ids.filter((id) => id.startsWith('cloud-init'))).toEqual(expected)
  } finally {
    process.env.PATH = before
  }
})

test('a policy that names somebody who is not here, and one that is wrong', async () => {
  const policy = join(home, 'policy.toml')
  const config = join(home, 'policy-config.toml')
  await writeFile(config, `[policy]\nfile = "${policy}"\n`)
  await writeFile(policy, '[[rule]]\neffect = "allow"\nusers = ["root"]\npaths = ["/a"]\n')
  const ids = async () => (await doctor('--config', config)).ids.filter((id) => /policy/.test(id))
  expect(await ids()).toEqual([])
  await writeFile(policy, '[[rule]]\neffect = "allow"\nusers = ["gone"]\npaths = ["/a"]\n')
  expect(await ids()).toEqual(['policy-unknown-account'])
  await writeFile(policy, 'mode = "no"')
  expect(await ids()).toEqual(['policy'])
})
