import { execFile } from 'node:child_process'
import { chmod, copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { startAgentProcess } from '../harness/agent.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { isRoot, makeCgroups, NEEDS_ROOT, PYTHON, systemdHierarchies } from '../harness/peer.ts'
import { CLI } from '../harness/programs.ts'
import { reloadPolicy } from '../harness/reload.ts'
import { readAs, tokenAs } from '../harness/unix-http.ts'

/** A real agent under a policy, asked by real users. */

const ROLE = '/latest/meta-data/ram/security-credentials/demo-role'
const OPEN = '/latest/meta-data/instance-id'
const DENIED = {
  status: 403,
  body: 'POLICY_DENIED: The policy does not let this caller read this path.',
}
const ci = { uid: 1001 }
const other = { uid: 1002 }

const CI_READS_ROLE = `[[rule]]
name = "ci"
effect = "allow"
users = [1001]
paths = ["${ROLE}"]
`

let dir: string
let instance: Instance
let policyFile: string

interface Said {
  readonly code: number
  readonly out: string
  readonly error: string
}

/** Runs a verb of the command line against the instance. */
function metabind(args: readonly string[], input = ''): Promise<Said> {
  return new Promise((resolve) => {
    const env = { ...process.env, METABIND_ADMIN_SOCKET: instance.adminSocket }
    const child = execFile(process.execPath, [CLI, ...args], { env }, (failed, out, error) => {
      resolve({ code: typeof failed?.code === 'number' ? failed.code : 0, out, error })
    })
    child.stdin?.end(input)
  })
}

async function writePolicy(text: string): Promise<void> {
  await writeFile(policyFile, text)
}

const reload = (text: string) => reloadPolicy(instance.agent, policyFile, text)

beforeAll(async () => {
  dir = await mkdtemp('/tmp/flow-policy-')
  await chmod(dir, 0o755)
  policyFile = join(dir, 'policy.toml')
  await writePolicy('')
  instance = await startInstance(dir, { config: `[policy]\nfile = "${policyFile}"\n` })
})

afterAll(async () => {
  await instance.stop()
  await rm(dir, { recursive: true })
})

describe.skipIf(!isRoot)(`enforced [${NEEDS_ROOT}]`, () => {
  test('without rules, secrets are for root', async () => {
    await reload('')
    expect(await readAs(other, instance.metadataSocket, OPEN)).toMatchObject({ status: 200 })
    expect(await readAs({}, instance.metadataSocket, ROLE)).toMatchObject({ status: 200 })
    expect(await readAs(other, instance.metadataSocket, ROLE)).toEqual(DENIED)
    const record = await instance.agent.until(({ event }) => event === 'policy.refused')
    expect(record).toMatchObject({
      audit: true,
      code: 'POLICY_DENIED',
      rule: 'default',
      path: ROLE,
      caller: { uid: 1002 },
    })
  })

  test('root of a container or namespace is not root', async () => {
    const through = ['unshare', '--fork', '--pid', '--kill-child']
    expect(await readAs({ through }, instance.metadataSocket, ROLE)).toEqual(DENIED)
    expect(await readAs({ through }, instance.metadataSocket, OPEN)).toMatchObject({ status: 200 })
  })

  test('the path that is decided about is the canonical one', async () => {
    await reload(CI_READS_ROLE)
    for (const spelling of [`/${ROLE}`, ROLE.replace('ram', '%72am'), `${ROLE}/`]) {
      expect(await readAs(ci, instance.metadataSocket, spelling)).toMatchObject({ status: 200 })
      expect(await readAs(other, instance.metadataSocket, spelling)).toEqual(DENIED)
    }
  })

  test('a user of a rule', async () => {
    await reload(CI_READS_ROLE)
    expect(await readAs(ci, instance.metadataSocket, ROLE)).toMatchObject({ status: 200 })
    expect(await readAs(ci, instance.metadataSocket, '/latest/user-data')).toEqual(DENIED)
    expect(await readAs(other, instance.metadataSocket, ROLE)).toEqual(DENIED)
  })

  test('a group, by name and as a supplementary one', async () => {
    await reload(CI_READS_ROLE.replace('users = [1001]', 'groups = ["daemon"]'))
    const member = { ...other, groups: [1] }
    expect(await readAs(member, instance.metadataSocket, ROLE)).toMatchObject({ status: 200 })
    expect(await readAs(other, instance.metadataSocket, ROLE)).toEqual(DENIED)
  })

  test.skipIf(isRoot && systemdHierarchies().length === 0)('a unit', async () => {
    const cgroups = makeCgroups()
    const app = `metabind-app@${process.pid}.service`
    const within = { ...ci, cgroups: [cgroups.make(`system.slice/${app}`)] }
    const without = { ...ci, cgroups: [cgroups.make(`system.slice/x${app}`)] }
    await reload(CI_READS_ROLE.replace('users = [1001]', "units = ['metabind-app@*.service']"))
    expect(await readAs(within, instance.metadataSocket, ROLE)).toMatchObject({ status: 200 })
    expect(await readAs(without, instance.metadataSocket, ROLE)).toEqual(DENIED)
    cgroups.remove()
  })

  test('an executable, which another one at its path is not', async () => {
    const [python, fake] = [join(dir, 'app-python'), join(dir, 'fake-python')]
    await copyFile(PYTHON, python)
    await copyFile(PYTHON, fake)
    await reload(CI_READS_ROLE.replace('users = [1001]', `executables = ["${dir}/app-*"]`))
    const named = { ...ci, python }
    expect(await readAs(named, instance.metadataSocket, ROLE)).toMatchObject({ status: 200 })
    expect(await readAs({ ...ci, python: fake }, instance.metadataSocket, ROLE)).toEqual(DENIED)
    const mount = `mount --bind ${fake} ${python} && exec "$@"`
    const disguised = { python, through: ['unshare', '--mount', 'sh', '-c', mount, 'sh'] }
    const rule = CI_READS_ROLE.replace('users = [1001]', `executables = ["${python}"]`)
    await reload(`${rule}[[rule]]\neffect = "deny"\npaths = ["/**"]\n`)
    expect(await readAs({ python }, instance.metadataSocket, ROLE)).toMatchObject({ status: 200 })
    expect(await readAs(disguised, instance.metadataSocket, ROLE)).toEqual(DENIED)
  })

  test('whoami and tokens are under no rule', async () => {
    await reload('[[rule]]\neffect = "deny"\npaths = ["/**"]\n')
    expect(await readAs(ci, instance.metadataSocket, '/metabind/v1/whoami')).toMatchObject({
      status: 200,
    })
    expect(await readAs(ci, instance.metadataSocket, OPEN)).toEqual(DENIED)
  })
})

describe('reloaded by SIGHUP', () => {
  test.each([
    [
      'a bad rule',
      `mode = "enforce"\n[[rule]]\neffect = "alow"\npaths = ["/a"]\n`,
      ':3: rule 1: effect: ',
    ],
    ['half a file', 'mode = "enf', ':1: '],
  ])('%s changes nothing, and its line is named', async (_what, text, message) => {
    await reload('[[rule]]\nname = "kept"\neffect = "deny"\npaths = ["/**"]\n')
    const record = await reload(text)
    expect(record).toMatchObject({
      level: 'error',
      msg: 'configuration not reloaded; the old one stays',
      cause: expect.stringContaining(`${policyFile}${message}`),
    })
    const { out } = await metabind(['explain', 'root', OPEN])
    expect(out).toBe(`${OPEN}: refused: rule 1 (kept) denies it\n`)
  })

  test('names that nobody here has are warned of, and the rest counts', async () => {
    const gone = 'effect = "deny"\nusers = ["no-such-user"]\npaths = ["/**"]\n'
    const kept = 'name = "kept"\neffect = "deny"\npaths = ["/**"]\ngroups = ["no such group", 0]\n'
    expect(await reload(`[[rule]]\n${gone}[[rule]]\n${kept}`)).toMatchObject({
      msg: expect.stringMatching(/^configuration reloaded/),
    })
    const warned = await instance.agent.until(({ event }) => event === 'policy.unknown-accounts')
    expect(warned).toMatchObject({
      level: 'warn',
      detail: `${policyFile}:3: rule 1: users: 'no-such-user' is nobody here. ${policyFile}:9: rule 2: groups: 'no such group' is nobody here.`,
    })
    const { out } = await metabind(['explain', 'root', OPEN])
    expect(out).toMatch(/: refused: rule 2 \(kept\) denies it\nrule 1 .*: users\n$/)
    await instance.restartAgent()
    expect(await metabind(['status'])).toMatchObject({ code: 0 })
    await reload('')
  })

  test('a series of deeply nested files is refused, and the agent goes on', async () => {
    await reload('[[rule]]\nname = "kept"\neffect = "deny"\npaths = ["/**"]\n')
    for (const open of ['{a=', '[']) {
      const text = `a = ${open.repeat(40_000)}`
      for (let turn = 0; turn < 3; turn += 1) {
        expect(await reload(text)).toMatchObject({
          level: 'error',
          cause: expect.stringContaining(`${policyFile}:1: nested more than 32 deep.`),
        })
      }
    }
    const { out } = await metabind(['explain', 'root', OPEN])
    expect(out).toBe(`${OPEN}: refused: rule 1 (kept) denies it\n`)
  })

  test('a file that others can write is refused', async () => {
    await chmod(policyFile, 0o666)
    const record = await reload('')
    await chmod(policyFile, 0o644)
    expect(record).toMatchObject({ level: 'error', cause: expect.stringContaining(policyFile) })
    expect(record.cause).toMatch(/^The policy file can be changed by others\./)
  })

  test('it counts at once, on connections that are open, too', async () => {
    const { request, Agent } = await import('node:http')
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const { body: token } = await tokenAs({}, instance.metadataSocket)
    const read = () =>
      new Promise<number>((resolve, reject) => {
        const headers = { 'x-aliyun-ecs-metadata-token': token }
        const socketPath = instance.metadataSocket
        request({ socketPath, path: OPEN, headers, agent }, (answer) => {
          answer.resume().on('end', () => resolve(answer.statusCode ?? 0))
        })
          .on('error', reject)
          .end()
      })
    await reload('')
    expect(await read()).toBe(200)
    await reload('[[rule]]\neffect = "deny"\npaths = ["/**"]\n')
    expect(await read()).toBe(403)
    agent.destroy()
  })
})

describe('at the start', () => {
  async function startsWith(policy: string, more: { readonly uid?: number } = {}): Promise<string> {
    const where = await mkdtemp('/tmp/flow-policy-start-')
    await chmod(where, 0o777)
    const [config, file] = [join(where, 'a.toml'), join(where, 'policy.toml')]
    if (policy !== 'none') await writeFile(file, policy)
    await writeFile(
      config,
      `[policy]\nfile = "${file}"\n[listen]\nadmin_socket = "${where}/a.sock"\n` +
        `[directories]\nruntime = "${where}"\nstate = "${where}"\n`,
    )
    const agent = startAgentProcess([config], more)
    const code = await new Promise((resolve) => agent.child.once('exit', resolve))
    await rm(where, { recursive: true })
    expect(code).toBe(1)
    return agent.output()
  }

  test('a policy that was asked for and is not there', async () => {
    expect(await startsWith('none')).toContain('metabindd: The policy file cannot be read. ')
  })

  test('a bad policy', async () => {
    expect(await startsWith('mode = "off"')).toContain('policy.toml:1: mode: ')
  })

  test.skipIf(!isRoot)(`executables that it cannot see [${NEEDS_ROOT}]`, async () => {
    const rule = '[[rule]]\neffect = "allow"\npaths = ["/**"]\nexecutables = ["/usr/bin/app"]\n'
    expect(await startsWith(rule, ci)).toMatch(
      /metabindd: The policy names executables, and the agent cannot see .*policy.toml:4: rule 1/,
    )
  })
})

describe('explain', () => {
  beforeEach(() =>
    reload(
      `${CI_READS_ROLE}[[rule]]\neffect = "allow"\nunits = ['a@*.service']\npaths = ["/**"]\n`,
    ),
  )

  test.each([
    [['1001', ROLE], 0, `${ROLE}: allowed: rule 1 (ci) allows it\n`],
    [
      ['1002', ROLE],
      3,
      `${ROLE}: refused: no rule speaks of it, and it is secret: for root outside of containers only
rule 1 (ci) is not about it: users
rule 2 (unnamed) is not about it: units
`,
    ],
    [
      ['1002', ROLE, '--unit', 'a@1.service'],
      0,
      `${ROLE}: allowed: rule 2 (unnamed) allows it\nrule 1 (ci) is not about it: users\n`,
    ],
    [
      ['root', 'instance-id'],
      0,
      `${OPEN}: allowed: no rule speaks of it, and it is not secret
rule 1 (ci) is not about it: paths
rule 2 (unnamed) is not about it: units
`,
    ],
    [
      ['1001', `${ROLE}/`, '--container', 'c1'],
      3,
      `${ROLE}: refused: no rule speaks of it, and it is secret: for root outside of containers only
rule 1 (ci) is not about it: containers
rule 2 (unnamed) is not about it: units
`,
    ],
    [
      ['1001', 'dynamic/instance-identity/document'],
      0,
      `/latest/dynamic/instance-identity/document: allowed: no rule speaks of it, and it is not secret
rule 1 (ci) is not about it: paths
rule 2 (unnamed) is not about it: units
`,
    ],
  ])('%j', async (args, code, out) => {
    expect(await metabind(['explain', ...args])).toEqual({ code, out, error: '' })
  })

  test.each([
    [
      '1002',
      'user-data',
      '/latest/user-data',
      3,
      'refused: no rule speaks of it, and it is secret',
    ],
    ['1002', 'no-such', '/latest/meta-data/no-such', 0, 'allowed: no rule speaks of it'],
    ['root', '/latest/user-dat', '/latest/user-dat', 0, 'allowed: no rule speaks of it'],
    ['root', '/1999-01-01/meta-data', '/1999-01-01/meta-data', 0, 'allowed: no rule'],
    ['root', '/metabind/v1/no-such', '/metabind/v1/no-such', 0, 'allowed: no rule'],
  ])(
    'a path that nobody knows is said to be unknown: %s %s',
    async (user, path, whole, code, says) => {
      const said = await metabind(['explain', user, path])
      expect(said).toMatchObject({ code, error: '' })
      expect(said.out).toMatch(
        new RegExp(`^${whole}: unknown: there is no such path here; it would be ${says}`),
      )
      const { out } = await metabind(['explain', user, path, '--json'])
      expect(JSON.parse(out)).toMatchObject({ known: false, path: whole })
    },
  )

  test.each(['/metabind/v1/whoami', '/latest/api/token', '/latest', '/', 'meta-data/mac'])(
    'a path that is there is known: %s',
    async (path) => {
      const { out } = await metabind(['explain', 'root', path, '--json'])
      expect(JSON.parse(out)).toMatchObject({ known: true })
    },
  )

  test('whether a path is there is not known while the source does not say', async () => {
    instance.cloud?.faults.set({ kind: 'status', code: 500 })
    const { code, out } = await metabind(['explain', 'root', 'zone-id', '--json'])
    instance.cloud?.faults.clear()
    expect(code).toBe(0)
    expect(JSON.parse(out)).not.toHaveProperty('known')
  })

  test('as JSON', async () => {
    const { out } = await metabind(['explain', '1001', ROLE, '--json'])
    expect(JSON.parse(out)).toEqual({
      schema: 'metabind.explain/1',
      allowed: true,
      rule: 1,
      why: 'rule 1 (ci) allows it',
      mode: 'enforce',
      path: ROLE,
      known: true,
      passedOver: [],
    })
  })

  test.each([
    [['explain'], 2, 'PATH is missing'],
    [['explain', OPEN, '--unit', 'a@1.service'], 2, 'describe a USER; name one'],
    [
      ['explain', 'no-such-user', OPEN],
      1,
      "ACCOUNT_ABSENT: There is no such user on this machine. 'no-such-user'",
    ],
    [['explain', 'root', '/a/../b'], 1, 'REQUEST_PATH: The path is not in canonical form.'],
  ])('%j', async (args, code, error) => {
    expect(await metabind(args)).toMatchObject({ code, error: expect.stringContaining(error) })
  })

  test('status says which policy is in force', async () => {
    const { out } = await metabind(['status', '--json'])
    expect(JSON.parse(out).policy).toEqual({ mode: 'enforce', from: policyFile, rules: 2 })
  })
})

describe('policy check', () => {
  test.each([
    ['', 0, 'FILE: valid, 0 rules, mode enforce\n'],
    [
      '[[rule]]\nname = "wide"\neffect = "allow"\npaths = ["/*/user-data"]\n',
      0,
      'FILE: valid, 1 rules, mode enforce\nnote: rule 1 (wide) opens secret paths to everybody\n',
    ],
  ])('%j', async (text, code, out) => {
    const file = join(dir, 'checked.toml')
    await writeFile(file, text)
    const said = await metabind(['policy', 'check', file])
    expect(said).toEqual({ code, out: out.replace('FILE', file), error: '' })
  })

  test('warns of names that nobody here has', async () => {
    const file = join(dir, 'checked.toml')
    await writeFile(file, '[[rule]]\neffect = "allow"\nusers = ["gone"]\npaths = ["/a"]\n')
    const out = `${file}: valid, 1 rules, mode enforce\nwarning: ${file}:3: rule 1: users: 'gone' is nobody here.\n`
    expect(await metabind(['policy', 'check', file])).toEqual({ code: 0, out, error: '' })
  })

  test('a bad one', async () => {
    const file = join(dir, 'checked.toml')
    await writeFile(file, '[[rule]]\neffect = "allow"\npaths = ["/a/"]\n')
    const { code, error } = await metabind(['policy', 'check', file])
    expect(code).toBe(1)
    expect(error).toContain(`POLICY_INVALID: The policy is not valid. ${file}:3: rule 1: paths: `)
  })
})

describe.skipIf(!isRoot)(`audit mode and what is learned from it [${NEEDS_ROOT}]`, () => {
  test('allows, records what would be refused, and suggests what then allows just that', async () => {
    await reload('mode = "audit"\n')
    const from = instance.agent.output().length
    for (const round of [1, 2]) {
      expect(await readAs(ci, instance.metadataSocket, ROLE), `${round}`).toMatchObject({
        status: 200,
      })
    }
    expect(await readAs(other, instance.metadataSocket, OPEN)).toMatchObject({ status: 200 })
    expect(await readAs(other, instance.metadataSocket, '/latest/no-such')).toMatchObject({
      status: 404,
    })
    const log = instance.agent.output().slice(from)
    const events = log.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]))
    const of = (event: string) =>
      events
        .filter((record) => record.event === event)
        .map(({ path, caller }) => [caller.uid, path])
    expect(of('policy.would-refuse')).toEqual([
      [1001, ROLE],
      [1001, ROLE],
    ])
    // Once each: a log of a week is no longer than what was asked for in it.
    expect(of('policy.seen')).toEqual([
      [1001, ROLE],
      [1002, OPEN],
    ])

    const { out, code } = await metabind(['policy', 'suggest'], log)
    expect(code).toBe(0)
    expect((await reload(out)).msg).toMatch(/^configuration reloaded/)
    expect(await readAs(ci, instance.metadataSocket, ROLE)).toMatchObject({ status: 200 })
    expect(await readAs(ci, instance.metadataSocket, OPEN)).toEqual(DENIED)
    expect(await readAs(other, instance.metadataSocket, OPEN)).toMatchObject({ status: 200 })
    expect(await readAs(other, instance.metadataSocket, ROLE)).toEqual(DENIED)
    expect(await readAs({}, instance.metadataSocket, OPEN)).toEqual(DENIED)
  })

  test('suggest needs something seen', async () => {
    const { code, error } = await metabind(['policy', 'suggest'], 'nothing\n')
    expect(code).toBe(1)
    expect(error).toContain('has no record policy.seen')
  })
})
