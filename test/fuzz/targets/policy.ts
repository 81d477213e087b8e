import assert from 'node:assert/strict'
import type { Caller } from '../../../src/caller/caller.ts'
import { DIALECTS } from '../../../src/dialect/dialects.ts'
import { MetabindError } from '../../../src/errors.ts'
import { openSecrets, parsePolicy } from '../../../src/policy/parse.ts'
import { decide, isContained, isSecret, mismatch, type Policy } from '../../../src/policy/policy.ts'
import { Choices } from '../choices.ts'
import { asItIs, CHOSEN, chosen, type FuzzTarget } from '../target.ts'

const DEPS = {
  lookUp: async () => ({
    users: new Map([
      ['app', 1000],
      ['root', 0],
    ]),
    groups: new Map([['ops', 50]]),
  }),
  secretPaths: DIALECTS.aliyun.secretPaths,
  seesExecutables: true,
}
const CALLERS: readonly Caller[] = [
  { pid: 1, uid: 0, gid: 0, groups: [0], namespaces: [], unit: 'app.service' },
  {
    pid: 2,
    uid: 1000,
    gid: 1000,
    groups: [50, 7],
    namespaces: [],
    unit: 'web@1.service',
    executable: '/usr/bin/app',
  },
  { pid: 3, uid: 0, gid: 0, groups: [], namespaces: ['user'], container: 'c1' },
  { pid: 4, uid: 4242, gid: 50, groups: [], namespaces: [] },
]
const PATHS = [
  ...[
    '/',
    '/latest/meta-data/instance-id',
    '/latest/user-data',
    '/metabind/v1/identity',
    '/latest',
  ],
  ...['/latest/meta-data/ram/security-credentials/role', '/2016-01-01/meta-data/all/x', '/a/b'],
]
const PATTERNS = [
  ...[
    '/**',
    '/latest/**',
    '/latest/meta-data/*',
    '/*/user-data/**',
    '/',
    '/a/b',
    '/latest/meta-data/ram/**',
    '/*',
  ],
  ...['/../x', '//', 'x', '/a/**/b', '/a*', '/%2e', '/latest/'],
] as const
const VALUES = [
  ...[
    'users = ["app"]',
    'users = [0, 1000]',
    'users = ["nobody-here"]',
    'users = []',
    'groups = ["ops", 7]',
  ],
  ...[
    'units = ["app.service"]',
    'units = ["web@*.service", "none"]',
    'units = ["app"]',
    'containers = ["*"]',
  ],
  ...[
    'executables = ["/usr/bin/*"]',
    'containers = ["none"]',
    'name = "x"',
    'unknown = 1',
    'users = "app"',
  ],
] as const

export const target: FuzzTarget = {
  execution:
    'one policy read, and asked for four callers and eight paths, as its index says and rule by rule',
  bytesMax: 768,
  isAsync: true,
  words: [
    '[[rule]]',
    'mode = "audit"',
    'effect = "allow"',
    'effect = "deny"',
    'paths = ["',
    ...PATTERNS,
    ...VALUES,
  ],
  seeds: () => [
    asItIs(
      'mode = "enforce"\n[[rule]]\neffect = "allow"\npaths = ["/latest/**"]\nusers = ["app"]\n',
    ),
    asItIs('rule = [{effect = "deny", paths = ["/"]}]'),
    chosen(1, 0, 2, 1, 1, 0, 1, 5, 0, 1, 2, 1, 2, 0),
    chosen(0, 3, 0, 1, 3, 2, 6, 8, 1, 1, 1, 1, 9, 9),
  ],
  async run(input) {
    const choices = new Choices(input)
    const text = choices.byte() === CHOSEN ? builtPolicy(choices) : choices.rest().toString('utf8')
    let policy: Policy
    try {
      policy = await parsePolicy(text, 'policy.toml', DEPS)
    } catch (error) {
      if (!(error instanceof MetabindError)) throw error
      assert.equal(error.code, 'POLICY_INVALID')
      assert.match(error.detail ?? '', /^policy\.toml:\d+: /)
      return
    }
    openSecrets(policy)
    for (const caller of CALLERS) for (const path of PATHS) requireRight(policy, caller, path)
  },
}

/** The first rule that matches decides, and if none does, secrets are root's. */
function requireRight(policy: Policy, caller: Caller, path: string): void {
  const said = decide(policy, caller, path)
  const rule = policy.rules.find((one) => mismatch(one, caller, path, undefined) === undefined)
  const byDefault = !isSecret(policy, path) || (caller.uid === 0 && !isContained(caller))
  assert.equal(said.rule, rule?.number ?? 'default')
  assert.equal(said.allowed, rule === undefined ? byDefault : rule.effect === 'allow')
}

function builtPolicy(choices: Choices): string {
  let text = choices.pick(['', 'mode = "enforce"\n', 'mode = "audit"\n', 'mode = 1\n'])
  while (!choices.isEmpty && text.length < 8192) {
    const paths = Array.from({ length: 1 + choices.below(3) }, () => choices.pick(PATTERNS))
    text += `[[rule]]\neffect = "${choices.pick(['allow', 'deny', 'allow', 'x'])}"\npaths = ${JSON.stringify(paths)}\n`
    for (let values = choices.below(3); values > 0; values -= 1) text += `${choices.pick(VALUES)}\n`
  }
  return text
}
