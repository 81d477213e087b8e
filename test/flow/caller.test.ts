import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startAgentProcess } from '../harness/agent.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import {
  type Cgroups,
  isRoot,
  makeCgroups,
  NEEDS_ROOT,
  systemdHierarchies,
  works,
} from '../harness/peer.ts'
import { CLI } from '../harness/programs.ts'
import { askAs, readAs, tokenAs } from '../harness/unix-http.ts'

/** Who a real agent takes real processes for, and whose tokens it takes from them. */

const WHOAMI = '/metabind/v1/whoami'
const OPEN = '/latest/meta-data/instance-id'
const hierarchies = isRoot ? systemdHierarchies() : []
const unit = `metabind-flow-${process.pid}.service`

let dir: string
let instance: Instance
let cgroups: Cgroups

async function startIn(config: string, agent = {}): Promise<void> {
  dir = await mkdtemp('/tmp/flow-caller-')
  await chmod(dir, 0o755)
  instance = await startInstance(dir, { config, agent })
}

async function stop(): Promise<void> {
  await instance.stop()
  await rm(dir, { recursive: true })
}

beforeEach(() => {
  cgroups = makeCgroups()
})
afterEach(() => cgroups.remove())

/** The exit code of a command line verb. */
function inspectExit(token: string): Promise<number> {
  return new Promise((resolve) => {
    const args = [CLI, 'inspect', '-', '--admin-socket', instance.adminSocket]
    const child = execFile(process.execPath, args, (error) => {
      resolve(typeof error?.code === 'number' ? error.code : 0)
    })
    child.stdin?.end(token)
  })
}

describe('bound to the uid, as by default', () => {
  beforeAll(() => startIn(''))
  afterAll(stop)

  test('whoami tells what the agent sees', async () => {
    const { status, body } = await readAs({}, instance.metadataSocket, WHOAMI)
    expect(status).toBe(200)
    expect(JSON.parse(body)).toMatchObject({
      uid: process.getuid?.(),
      gid: process.getgid?.(),
      namespaces: [],
    })
  })

  test.skipIf(hierarchies.length === 0)(`whoami in a unit [${NEEDS_ROOT}]`, async () => {
    const ids = { uid: 1001, gid: 1002, groups: [4, 5] }
    const cgroup = cgroups.make(`system.slice/${unit}`)
    const { body } = await readAs({ ...ids, cgroups: [cgroup] }, instance.metadataSocket, WHOAMI)
    const { pid, ...caller } = JSON.parse(body)
    expect(caller).toEqual({ ...ids, unit, slice: 'system.slice', namespaces: [] })
  })

  test.skipIf(!isRoot)(`another user's token is refused and audited [${NEEDS_ROOT}]`, async () => {
    const { body: token } = await tokenAs({ uid: 1001 }, instance.metadataSocket)
    expect(await readAs({ uid: 1001 }, instance.metadataSocket, OPEN, token)).toMatchObject({
      status: 200,
    })
    const stolen = await readAs({ uid: 1002 }, instance.metadataSocket, OPEN, token)
    expect(stolen).toEqual({
      status: 401,
      body: 'TOKEN_CALLER: The session token belongs to another caller.',
    })
    const record = await instance.agent.until(({ code }) => code === 'TOKEN_CALLER')
    expect(record).toMatchObject({
      audit: true,
      event: 'token.refused',
      detail: 'made for uid 1001',
      caller: { uid: 1002 },
      path: OPEN,
    })
    expect(instance.agent.output()).not.toContain(token)
    expect(await inspectExit(token)).toBe(6)
  })

  test.skipIf(!isRoot)(
    `callers in a PID namespace are answered by uid [${NEEDS_ROOT}]`,
    async () => {
      const through = ['unshare', '--fork', '--pid', '--kill-child']
      const { body } = await readAs({ through }, instance.metadataSocket, WHOAMI)
      expect(JSON.parse(body)).toMatchObject({ uid: 0, namespaces: ['pid'] })
    },
  )

  // The agent is not dumpable: only root may count its descriptors.
  test.skipIf(!isRoot)(`a connection leaves no descriptor behind [${NEEDS_ROOT}]`, async () => {
    const open = () => readdirSync(`/proc/${instance.agent.child.pid}/fd`).length
    await readAs({}, instance.metadataSocket, OPEN)
    const before = open()
    for (let round = 0; round < 20; round += 1) await tokenAs({}, instance.metadataSocket)
    // The agent sees the last connection close a little later.
    await expect.poll(open).toBeLessThanOrEqual(before)
  })

  test('one identity for all requests of a connection', async () => {
    const answers = await askAs({}, instance.metadataSocket, [
      ['PUT', '/latest/api/token', { 'x-aliyun-ecs-metadata-token-ttl-seconds': '60' }],
      ['GET', WHOAMI, {}],
      ['GET', WHOAMI, {}],
    ])
    expect(answers[1]?.status).toBe(200)
    expect(answers[1]).toEqual(answers[2])
  })
})

describe.skipIf(hierarchies.length === 0)(`bound to the unit as well [${NEEDS_ROOT}]`, () => {
  beforeAll(() => startIn('[token]\nbind = ["uid", "unit"]\n'))
  afterAll(stop)

  test('a token of another unit of the same user is refused and audited', async () => {
    const own = { uid: 1001, cgroups: [cgroups.make(`system.slice/${unit}`)] }
    const other = { uid: 1001, cgroups: [cgroups.make(`system.slice/other-${unit}`)] }
    const { body: token } = await tokenAs(own, instance.metadataSocket)
    expect(await readAs(own, instance.metadataSocket, OPEN, token)).toMatchObject({ status: 200 })
    expect(await readAs(other, instance.metadataSocket, OPEN, token)).toMatchObject({ status: 401 })
    expect(await readAs({ uid: 1001 }, instance.metadataSocket, OPEN, token)).toMatchObject({
      status: 401,
    })
    const record = await instance.agent.until(({ code }) => code === 'TOKEN_CALLER')
    expect(record).toMatchObject({
      audit: true,
      event: 'token.refused',
      detail: 'made for another unit',
      caller: { uid: 1001, unit: `other-${unit}` },
    })
  })

  test('inspect says 6 of another unit, and revoke needs no unit', async () => {
    const own = { uid: process.getuid?.() ?? 0, cgroups: [cgroups.make(`system.slice/${unit}`)] }
    const { body: token } = await tokenAs(own, instance.metadataSocket)
    expect(await inspectExit(token)).toBe(6)
    const args = [CLI, 'revoke', '-', '--admin-socket', instance.adminSocket]
    await new Promise<void>((resolve, reject) => {
      const child = execFile(process.execPath, args, (error) => (error ? reject(error) : resolve()))
      child.stdin?.end(token)
    })
    expect(await readAs(own, instance.metadataSocket, OPEN, token)).toMatchObject({ status: 401 })
    expect(await inspectExit(token)).toBe(5)
  })

  test('a process in no unit gets no token', async () => {
    expect(await tokenAs({ uid: 1001 }, instance.metadataSocket)).toEqual({
      status: 403,
      body: expect.stringMatching(/^TOKEN_UNIT: /),
    })
  })
})

describe.skipIf(!isRoot)(`an agent in namespaces of its own [${NEEDS_ROOT}]`, () => {
  const configIn = (where: string) =>
    `[listen]\nadmin_socket = "${where}/admin.sock"\n` +
    `[directories]\nruntime = "${where}"\nstate = "${where}"\n`

  test('that cannot see a caller in its PID namespace refuses it', async () => {
    await startIn('', { through: ['unshare', '--fork', '--pid', '--mount-proc', '--kill-child'] })
    expect(await tokenAs({}, instance.metadataSocket)).toEqual({
      status: 403,
      body: 'CALLER_UNKNOWN: The calling process could not be identified.',
    })
    const record = await instance.agent.until(({ code }) => code === 'CALLER_UNKNOWN')
    expect(record).toMatchObject({
      event: 'request.refused',
      detail: 'it is in a PID namespace not seen here',
      // Its user is named all the same.
      uid: 0,
    })
    // The child of unshare is the agent.
    instance.agent.child.kill('SIGKILL')
    await stop()
  })

  const through = ['unshare', '--user', '--map-root-user']
  test.skipIf(!works('unshare', ...through.slice(1), 'true'))(
    'whose user namespace has no number for a user refuses that user, and knows others',
    async () => {
      await startIn('', { through })
      expect(await readAs({}, instance.metadataSocket, OPEN)).toMatchObject({ status: 200 })
      expect(await tokenAs({ uid: 1001 }, instance.metadataSocket)).toMatchObject({ status: 403 })
      expect(await tokenAs({ uid: 65_534 }, instance.metadataSocket)).toMatchObject({ status: 403 })
      const record = await instance.agent.until(({ code }) => code === 'CALLER_UNKNOWN')
      expect(record.detail).toBe('its user has no number in this user namespace')
      expect(record).not.toHaveProperty('uid')
      await stop()
    },
  )

  test('that hidepid= lets see other users by its group starts', async () => {
    const where = await mkdtemp('/tmp/flow-proc-')
    await chmod(where, 0o777)
    const config = join(where, 'a.toml')
    await writeFile(config, configIn(where))
    const drop = 'setpriv --reuid 1001 --regid 1001 --groups 1002 "$@"'
    const enter = `mount -t proc -o hidepid=2,gid=1002 proc /proc && exec ${drop}`
    const agent = startAgentProcess([config], {
      through: ['unshare', '--mount', 'sh', '-c', enter, 'sh'],
    })
    // It looks at /proc before that.
    await agent.until(({ state }) => state === 'opening-tpm')
    await agent.stop()
    await rm(where, { recursive: true })
  })

  test.each([
    ['whose /proc is of another namespace', ['unshare', '--fork', '--pid', '--kill-child']],
    [
      'that is not shown other users in /proc',
      [
        'unshare',
        '--mount',
        'sh',
        '-c',
        'mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid 1001 --regid 1001 --clear-groups "$@"',
        'sh',
      ],
    ],
  ])('%s does not start', async (_what, command) => {
    const where = await mkdtemp('/tmp/flow-proc-')
    await chmod(where, 0o777)
    const config = join(where, 'a.toml')
    await writeFile(config, configIn(where))
    const agent = startAgentProcess([config], { through: command })
    await expect(agent.ready()).rejects.toThrow(
      'The agent cannot see in /proc who its callers are.',
    )
    await agent.stop()
    await rm(where, { recursive: true })
  })
})
