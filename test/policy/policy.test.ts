import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Caller } from '../../src/caller/caller.ts'
import { aliyun } from '../../src/dialect/aliyun.ts'
import { openSecrets, type PolicyDeps, parsePolicy } from '../../src/policy/parse.ts'
import { decide, mismatch, type Policy } from '../../src/policy/policy.ts'

const PARTS: PolicyDeps = {
  lookUp: async () => ({
    users: new Map([
      ['ci', 1001],
      ['DOM\\ann', 70_001],
    ]),
    groups: new Map([['build', 501]]),
  }),
  secretPaths: aliyun.secretPaths,
  seesExecutables: true,
}
const ROLE = '/latest/meta-data/ram/security-credentials/role'
const OPEN = '/latest/meta-data/instance-id'

const parse = (text: string, parts: Partial<PolicyDeps> = {}): Promise<Policy> =>
  parsePolicy(text, 'policy.toml', { ...PARTS, ...parts })

function caller(uid: number, more: Partial<Caller> = {}): Caller {
  return { pid: 77, uid, gid: uid, groups: [], namespaces: [], ...more }
}

const rule = (body: string) => `[[rule]]\neffect = "allow"\npaths = ["/**"]\n${body}\n`

describe('where no rule speaks', () => {
  test.each([
    ['everybody reads what is open', caller(1001), OPEN, true],
    [
      'everybody reads the role names',
      caller(1001),
      '/latest/meta-data/ram/security-credentials',
      true,
    ],
    ['a secret is not for everybody', caller(1001), ROLE, false],
    ['nor in the other version', caller(1001), ROLE.replace('latest', '2016-01-01'), false],
    ['nor below it', caller(1001), `${ROLE}/x`, false],
    ['user data', caller(1001), '/latest/user-data', false],
    ['vendor data', caller(1001), '/latest/vendor-data', false],
    ['proof of identity', caller(1001), '/latest/dynamic/instance-identity/pkcs7', false],
    [
      'the document without proof',
      caller(1001),
      '/latest/dynamic/instance-identity/document',
      true,
    ],
    ['an identity token', caller(1001), '/metabind/v1/identity', false],
    ['root reads secrets', caller(0), ROLE, true],
    ['root of a container does not', caller(0, { container: 'c1' }), ROLE, false],
    ['nor root in another PID namespace', caller(0, { namespaces: ['pid'] }), ROLE, false],
    ['nor in another user namespace', caller(0, { namespaces: ['user'] }), ROLE, false],
    ['a container reads what is open', caller(0, { container: 'c1' }), OPEN, true],
  ])('%s', async (_what, who, path, allowed) => {
    expect(decide(await parse(''), who, path)).toMatchObject({ allowed, rule: 'default' })
  })

  test.each([
    [OPEN, caller(1001), 'it is not secret'],
    [ROLE, caller(1001), 'it is secret: for root outside of containers only'],
    [ROLE, caller(0), 'it is secret: for root outside of containers only'],
  ])('%s: it is said why', async (path, who, why) => {
    expect(decide(await parse(''), who, path).why).toBe(`no rule speaks of it, and ${why}`)
  })

  test('the shipped policy is the built-in one', async () => {
    const file = new URL('../../packaging/policy.toml', import.meta.url)
    const shipped = await parse(readFileSync(file, 'utf8'))
    const { rules, mode, secretPaths } = await parse('')
    expect({ rules: shipped.rules, mode: shipped.mode }).toEqual({ rules, mode })
    expect(shipped.secretPaths.map(({ text }) => text)).toEqual(secretPaths.map(({ text }) => text))
  })

  test('the documented example is a good policy', async () => {
    const page = readFileSync(new URL('../../docs/policy.md', import.meta.url), 'utf8')
    const example = /```toml\n([^`]+)```/.exec(page)?.[1] ?? 'no example'
    const lookUp: PolicyDeps['lookUp'] = async () => ({
      users: new Map([['ci', 1000]]),
      groups: new Map([['guests', 7]]),
    })
    const policy = await parse(example, { lookUp })
    const runner = { unit: 'gitlab-runner@1.service' }
    expect(decide(policy, caller(1001, runner), ROLE)).toMatchObject({ allowed: true, rule: 1 })
    expect(decide(policy, caller(5, { groups: [7] }), OPEN)).toMatchObject({
      allowed: false,
      rule: 2,
    })
  })

  test('the shipped example is a good rule', async () => {
    const file = new URL('../../packaging/policy.toml', import.meta.url)
    const lines = readFileSync(file, 'utf8').split('\n')
    const example = lines.slice(lines.indexOf('# [[rule]]')).map((line) => line.replace('# ', ''))
    const lookUp: PolicyDeps['lookUp'] = async () => ({
      users: new Map([['backup', 34]]),
      groups: new Map(),
    })
    const policy = await parse(example.join('\n'), { lookUp })
    expect(decide(policy, caller(34, { unit: 'backup.service' }), ROLE).rule).toBe(1)
    expect(decide(policy, caller(34), ROLE).allowed).toBe(false)
  })
})

describe('one list of a rule', () => {
  test.each([
    ['users = ["ci"]', caller(1001), caller(1002), 'users'],
    ['users = [7, "DOM\\\\ann"]', caller(70_001), caller(70_002), 'users'],
    ['groups = ["build"]', caller(5, { gid: 501 }), caller(501, { gid: 5 }), 'groups'],
    ['groups = [9]', caller(5, { groups: [1, 9] }), caller(5, { groups: [1] }), 'groups'],
    [
      "units = ['app@*.service']",
      caller(5, { unit: 'app@1.service' }),
      caller(5, { unit: 'app.service' }),
      'units',
    ],
    [
      "units = ['a\\x2db.service']",
      caller(5, { unit: 'a\\x2db.service' }),
      caller(5, { unit: 'a-b.service' }),
      'units',
    ],
    ["units = ['*.service']", caller(5, { unit: 'a.service' }), caller(5), 'units'],
    ["units = ['none']", caller(5), caller(5, { unit: 'a.service' }), 'units'],
    [
      "executables = ['/usr/bin/x']",
      caller(5, { executable: '/usr/bin/x' }),
      caller(5),
      'executables',
    ],
    [
      "executables = ['/usr/bin/x']",
      caller(5, { executable: '/usr/bin/x' }),
      caller(5, { executable: '/usr/bin/y' }),
      'executables',
    ],
    ["containers = ['c*']", caller(5, { container: 'c1' }), caller(5), 'containers'],
    [
      "containers = ['c*']",
      caller(5, { container: 'c1' }),
      caller(5, { container: 'd' }),
      'containers',
    ],
    ["containers = ['*']", caller(5, { namespaces: ['pid'] }), caller(5), 'containers'],
    [
      "containers = ['none']",
      caller(5, { namespaces: ['pid'] }),
      caller(5, { container: 'c1' }),
      'containers',
    ],
    // An allow rule that names callers does not mean their namesakes in containers.
    ['users = [0]', caller(0), caller(0, { container: 'c1' }), 'containers'],
    ['groups = [0]', caller(0), caller(0, { namespaces: ['user'] }), 'containers'],
    ["users = [0]\ncontainers = ['c1']", caller(0, { container: 'c1' }), caller(0), 'containers'],
  ] as const)('%s', async (body, who, other, list) => {
    const policy = await parse(rule(body))
    expect(decide(policy, who, ROLE)).toMatchObject({ allowed: true, rule: 1 })
    expect(decide(policy, other, ROLE).rule).toBe('default')
    expect(policy.rules.map((one) => mismatch(one, other, ROLE, undefined))).toEqual([list])
  })

  test('all lists must match', async () => {
    const policy = await parse(rule("users = ['ci']\nunits = ['a.service']"))
    expect(decide(policy, caller(1001, { unit: 'a.service' }), ROLE).allowed).toBe(true)
    expect(decide(policy, caller(1001), ROLE).allowed).toBe(false)
    expect(decide(policy, caller(1002, { unit: 'a.service' }), ROLE).allowed).toBe(false)
  })

  test('a deny rule holds in containers too', async () => {
    const policy = await parse('[[rule]]\neffect = "deny"\nusers = ["ci"]\npaths = ["/**"]')
    for (const more of [{}, { container: 'c1' }, { namespaces: ['pid', 'user'] }] as const) {
      expect(decide(policy, caller(1001, more), OPEN)).toMatchObject({ allowed: false, rule: 1 })
    }
  })
})

describe('order', () => {
  const DENY_CI = '[[rule]]\nname = "not ci"\neffect = "deny"\nusers = ["ci"]\npaths = ["/**"]\n'
  const ALLOW_ALL = '[[rule]]\nname = "all"\neffect = "allow"\npaths = ["/**"]\n'

  test('the first rule that matches decides', async () => {
    expect(decide(await parse(DENY_CI + ALLOW_ALL), caller(1001), OPEN)).toEqual({
      allowed: false,
      rule: 1,
      why: 'rule 1 (not ci) denies it',
    })
    expect(decide(await parse(ALLOW_ALL + DENY_CI), caller(1001), OPEN)).toEqual({
      allowed: true,
      rule: 1,
      why: 'rule 1 (all) allows it',
    })
  })

  test('a rule for everybody opens secrets as well, and is pointed out', async () => {
    const policy = await parse(DENY_CI + ALLOW_ALL)
    expect(decide(policy, caller(5), ROLE)).toMatchObject({ allowed: true, rule: 2 })
    expect(openSecrets(policy).map(({ number }) => number)).toEqual([2])
    expect(openSecrets(await parse(rule('users = ["ci"]')))).toEqual([])
    expect(
      openSecrets(
        await parse('[[rule]]\neffect = "allow"\npaths = ["/latest/meta-data/instance/*"]'),
      ),
    ).toEqual([])
  })

  const anyRule = fc.record({
    effect: fc.constantFrom('allow', 'deny'),
    uid: fc.integer({ min: 1, max: 3 }),
    path: fc.constantFrom('/a', '/a/**', '/*', '/b'),
  })
  const text = (rules: readonly { effect: string; uid: number; path: string }[]) =>
    rules
      .map(
        ({ effect, uid, path }) =>
          `[[rule]]\neffect = "${effect}"\nusers = [${uid}]\npaths = ["${path}"]\n`,
      )
      .join('')

  test('is all that counts: rules after the one that decides change nothing, and no others before', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyRule, { maxLength: 8 }),
        fc.integer({ min: 1, max: 3 }),
        fc.constantFrom('/a', '/a/c', '/b', '/c'),
        async (rules, uid, path) => {
          const decision = decide(await parse(text(rules)), caller(uid), path)
          if (decision.rule === 'default') {
            for (const one of rules) {
              expect(decide(await parse(text([one])), caller(uid), path).rule).toBe('default')
            }
          } else {
            const upTo = rules.slice(0, decision.rule)
            expect(decide(await parse(text(upTo)), caller(uid), path)).toEqual(decision)
            expect(decide(await parse(text(upTo.slice(0, -1))), caller(uid), path).rule).toBe(
              'default',
            )
            expect(decision.allowed).toBe(upTo.at(-1)?.effect === 'allow')
          }
        },
      ),
      { numRuns: 60 },
    )
  })
})

describe('a file that is refused, with its line and reason', () => {
  const GOOD = 'mode = "enforce"\n\n[[rule]]\neffect = "allow"\npaths = ["/a"]\n'
  test.each([
    ['no TOML', 'mode = ', 'policy.toml:1: '],
    ['an unknown key', `${GOOD}user = ["ci"]`, 'policy.toml:6: rule 1: user: unknown key.'],
    ['an unknown table', '[rules]', 'policy.toml:1: rules: unknown key.'],
    [
      'an unknown mode',
      'mode = "permissive"',
      'policy.toml:1: mode: must be "enforce" or "audit".',
    ],
    ['no effect', `${GOOD}[[rule]]\npaths = ["/a"]`, 'policy.toml:6: rule 2: effect: '],
    ['no paths', '[[rule]]\neffect = "deny"', 'policy.toml:1: rule 1: paths: '],
    ['an empty list', `${GOOD}users = []`, 'policy.toml:6: rule 1: users: must not be empty'],
    [
      'a number in quotes',
      `${GOOD}users = ["1001"]`,
      'policy.toml:6: rule 1: users: must be a name, or a number without quotes.',
    ],
    [
      'an option in place of a name',
      `${GOOD}users = ["-s"]`,
      'policy.toml:6: rule 1: users: must be a name',
    ],
    ['a negative number', `${GOOD}users = [-1]`, 'policy.toml:6: rule 1: users: must be a name'],
    [
      'a uid that means none',
      `${GOOD}users = [4294967295]`,
      'policy.toml:6: rule 1: users: must be a name',
    ],
    [
      'a unit without its kind',
      `${GOOD}units = ["app"]`,
      "policy.toml:6: rule 1: units: 'app' must end in .service",
    ],
    [
      'a directory of a unit',
      `${GOOD}units = ["app.service.d"]`,
      "policy.toml:6: rule 1: units: 'app.service.d' must end in .service",
    ],
    [
      'a unit in a slice',
      `${GOOD}units = ["a/b.service"]`,
      "policy.toml:6: rule 1: units: 'a/b.service' must be a name without slashes.",
    ],
    [
      'a relative executable',
      `${GOOD}executables = ["x"]`,
      "policy.toml:6: rule 1: executables: 'x' must be an absolute path",
    ],
    [
      'a path with a pattern inside a segment',
      '[[rule]]\neffect = "deny"\npaths = ["/a*"]',
      "policy.toml:3: rule 1: paths: '/a*' cannot match",
    ],
    [
      'an executable in a deny rule',
      '[[rule]]\neffect = "deny"\npaths = ["/**"]\nexecutables = ["/usr/bin/x"]',
      'policy.toml:4: rule 1: executables: cannot stand in a deny rule: a copy of the file would escape it.',
    ],
  ])('%s', async (_what, text, message) => {
    await expect(parse(text)).rejects.toMatchObject({
      code: 'POLICY_INVALID',
      detail: expect.stringContaining(message),
    })
  })

  test.each(['', 'é', 'aé', 'éa', 'a'.repeat(101)])('the name "%s"', async (name) => {
    await expect(parse(`${GOOD}name = "${name}"`)).rejects.toMatchObject({
      detail: 'policy.toml:6: rule 1: name: must be 1 to 100 printable characters.',
    })
  })

  const ALLOW = '[[rule]]\neffect = "allow"\npaths = ["/a"]\n'
  const list = (count: number) => Array.from({ length: count }, (_, at) => at).join(', ')
  test.each([
    ['rules', 'rule', (count: number) => ALLOW.repeat(count)],
    ['users', 'rule 1: users', (count: number) => `${ALLOW}users = [${list(count)}]`],
    ['groups', 'rule 1: groups', (count: number) => `${ALLOW}groups = [${list(count)}]`],
    [
      'paths',
      'rule 1: paths',
      (count: number) =>
        `[[rule]]\neffect = "deny"\npaths = [${Array(count).fill('"/a"').join(', ')}]`,
    ],
  ])('more than a thousand %s', async (_what, where, of) => {
    await expect(parse(of(1000))).resolves.toMatchObject({ mode: 'enforce' })
    await expect(parse(of(1001))).rejects.toMatchObject({
      code: 'POLICY_INVALID',
      detail: expect.stringMatching(new RegExp(`^policy\\.toml:\\d+: ${where}: .*1000`)),
    })
  })

  test('executables that the agent cannot see', async () => {
    const text = `${GOOD}[[rule]]\neffect = "allow"\npaths = ["/a"]\nexecutables = ["/usr/bin/x"]`
    await expect(parse(text, { seesExecutables: false })).rejects.toMatchObject({
      code: 'POLICY_BLIND',
      detail: 'policy.toml:9: rule 2: executables',
    })
  })
})

describe('a name that nobody here has', () => {
  const DENY_GONE = '[[rule]]\neffect = "deny"\nusers = ["gone"]\npaths = ["/**"]\n'

  test.each([
    ['users = ["gone"]', caller(1001), false],
    ['users = ["gone", "ci"]', caller(1001), true],
    ['groups = ["gone"]', caller(1001), false],
    ['groups = [501, "gone"]', caller(7, { groups: [501] }), true],
  ])('matches nobody, and others beside it count: %s', async (body, who, allowed) => {
    const policy = await parse(rule(body))
    expect(decide(policy, who, ROLE).allowed).toBe(allowed)
    const key = body.split(' ')[0]
    expect(policy.unknownAccounts).toEqual([
      `policy.toml:4: rule 1: ${key}: 'gone' is nobody here.`,
    ])
  })

  test('in a deny rule as well', async () => {
    expect(decide(await parse(DENY_GONE), caller(1001), OPEN).allowed).toBe(true)
  })

  test('is not said of numbers and known names', async () => {
    const policy = await parse(rule('users = ["ci", 5]\ngroups = ["build"]'))
    expect(policy.unknownAccounts).toEqual([])
  })
})

test.each([
  ['domain users', true],
  ['DOM\\\\domain users', true],
  ['a', true],
  [' lead', false],
  ['trail ', false],
  ['tab\\there', false],
  ['a:b', false],
  ['a,b', false],
  ['-a', false],
  ['12', false],
  ['1st', true],
  ['+0', false],
  ['', false],
])('"%s" as a name of an account', async (name, taken) => {
  const parsed = parse(rule(`groups = ["${name}"]`)).then(
    () => true,
    () => false,
  )
  expect(await parsed).toBe(taken)
})

test('a byte order mark before a policy is read over', async () => {
  expect(await parse('\uFEFFmode = "audit"\n')).toMatchObject({ mode: 'audit', rules: [] })
})
