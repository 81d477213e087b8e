import { expect, test } from 'vitest'
import { openSecrets, type PolicyDeps, parsePolicy } from '../../src/policy/parse.ts'

/** What is in the text of a policy beyond who may do what, which policy.test.ts tries. */

type Names = Parameters<PolicyDeps['lookUp']>[0]

async function parse(text: string) {
  const asked: Names[] = []
  const policy = await parsePolicy(text, 'policy.toml', {
    lookUp: async (names) => {
      asked.push(names)
      return { users: new Map([['ci', 1001]]), groups: new Map([['ci', 501]]) }
    },
    secretPaths: ['/secret/*'],
    seesExecutables: true,
  })
  return { asked, policy }
}

const rule = (lines: string, effect = 'allow', paths = '"/a"') =>
  `[[rule]]\neffect = "${effect}"\npaths = [${paths}]\n${lines}\n`
const refusalOf = (text: string) => parse(text).then(String, ({ detail }) => detail)

test('each name is looked up once, as a user or as a group, and numbers never', async () => {
  const text = rule('users = ["ci", 7, "ann"]\ngroups = ["ci"]') + rule('users = ["ci"]') + rule('')
  const { asked, policy } = await parse(text)
  expect(asked).toEqual([{ users: ['ci', 'ann'], groups: ['ci'] }])
  const [first] = policy.rules
  expect([first?.users, first?.groups]).toEqual([new Set([1001, 7]), new Set([501])])
})

test('the largest number of a user is one', async () => {
  const { policy } = await parse(rule('users = [0, 4294967294]'))
  expect(policy.rules[0]?.users).toEqual(new Set([0, 4_294_967_294]))
})

test('a rule without a name is called unnamed', async () => {
  const long = 'n'.repeat(100)
  const { policy } = await parse(rule('') + rule(`name = "${long}"`))
  expect(policy.rules.map(({ name }) => name)).toEqual(['unnamed', long])
})

test('what is open to everybody is pointed out by any of its paths, and what is denied is not', async () => {
  const { policy } = await parse(
    [
      rule('', 'allow', '"/a", "/secret/one"'),
      rule('', 'deny', '"/secret/one"'),
      rule('', 'allow', '"/a", "/b"'),
    ].join(''),
  )
  expect(openSecrets(policy).map(({ number }) => number)).toEqual([1])
})

test('of several keys that are unknown the first is named', async () => {
  expect(await refusalOf('one = 1\ntwo = 2\n')).toBe('policy.toml:1: one: unknown key.')
})

test('of a long pattern the beginning is shown', async () => {
  const detail = await refusalOf(rule(`units = ["${'u'.repeat(200)}"]`))
  expect(detail).toMatch(/^policy\.toml:4: rule 1: units: 'u{80}' must end in /)
})
