import { expect, test } from 'vitest'
import { explain, explainFor } from '../../src/policy/explain.ts'
import { type PolicyDeps, parsePolicy } from '../../src/policy/parse.ts'
import { namedOfCallers, type Policy } from '../../src/policy/policy.ts'

const PARTS: PolicyDeps = {
  lookUp: async () => ({ users: new Map(), groups: new Map() }),
  secretPaths: ['/secret'],
  seesExecutables: true,
}
const parse = (text: string): Promise<Policy> => parsePolicy(text, 'policy.toml', PARTS)
const rule = (name: string, lines: string, path = '/secret') =>
  `[[rule]]\nname = "${name}"\neffect = "allow"\npaths = ["${path}"]\n${lines}\n`
const ASKED = { uid: 1001, gid: 100, groups: [7], path: '/secret' }

test('the rule that decides is told, and of each before it the first list that did not match', async () => {
  const policy = await parse(
    [
      rule('elsewhere', '', '/other'),
      rule('users', 'users = [1]'),
      rule('groups', 'groups = [1]'),
      rule('match', 'groups = [7]'),
      rule('behind', ''),
    ].join(''),
  )
  expect(explain(policy, ASKED)).toEqual({
    allowed: true,
    rule: 4,
    why: expect.any(String),
    mode: 'enforce',
    path: '/secret',
    passedOver: [
      { rule: 1, name: 'elsewhere', mismatch: 'paths' },
      { rule: 2, name: 'users', mismatch: 'users' },
      { rule: 3, name: 'groups', mismatch: 'groups' },
    ],
  })
})

test.each([
  ['unit', 'units', 'a.service'],
  ['executable', 'executables', '/usr/bin/a'],
  ['container', 'containers', 'c1'],
])(
  'the %s that is asked about counts, and is none if it is left out',
  async (what, list, value) => {
    const policy = await parse(rule('one', `${list} = ["${value}"]`))
    expect(explain(policy, { ...ASKED, [what]: value })).toMatchObject({ allowed: true, rule: 1 })
    expect(explain(policy, { ...ASKED, [what]: `${value}x` })).toMatchObject({ allowed: false })
    const passedOver = [{ rule: 1, name: 'one', mismatch: list }]
    expect(explain(policy, ASKED)).toMatchObject({ allowed: false, rule: 'default', passedOver })
  },
)

test('it is asked about as a process where the agent is', async () => {
  const policy = await parse('')
  expect(explain(policy, { ...ASKED, uid: 0 })).toMatchObject({ allowed: true, passedOver: [] })
})

test('the path is judged in its canonical form, and one that has none is refused', async () => {
  const policy = await parse('mode = "audit"\n')
  const caller = { ...ASKED, pid: 1, namespaces: [] }
  const found = explainFor(policy, caller, '/%73ecret/')
  expect(found).toMatchObject({ allowed: false, path: '/secret', mode: 'audit' })
  expect(() => explainFor(policy, caller, '/../secret')).toThrow(
    expect.objectContaining({ code: 'REQUEST_PATH' }),
  )
})

test('a policy says what of callers its rules name', async () => {
  const named = async (...lists: string[]) => {
    const rules = lists.map((list) => rule('one', list)).join('')
    return namedOfCallers(await parse(rules))
  }
  expect(await named()).toEqual({ isPlace: false, executable: undefined })
  expect(await named('', 'users = [1]')).toEqual({ isPlace: false, executable: undefined })
  expect(await named('', 'units = ["a.service"]')).toMatchObject({ isPlace: true })
  expect(await named('containers = ["*"]', '')).toMatchObject({ isPlace: true })
  const { isPlace, executable } = await named('', 'executables = ["/a"]', 'executables = ["/b"]')
  expect(isPlace).toBe(false)
  expect(['/a', '/b', '/c'].map((path) => executable?.(path))).toEqual([true, true, false])
})

test('it is found out once for a policy', async () => {
  const policy = await parse(rule('one', 'units = ["a.service"]'))
  expect(namedOfCallers(policy)).toBe(namedOfCallers({ ...policy }))
})
