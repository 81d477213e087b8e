import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Caller } from '../../src/caller/caller.ts'
import { namePattern, pathPattern } from '../../src/policy/pattern.ts'
import { decide, mismatch, type Policy, type Rule } from '../../src/policy/policy.ts'
import { ruleIndex } from '../../src/policy/rule-index.ts'

const CALLER: Caller = { uid: 1000, gid: 1000, groups: [7], namespaces: [], pid: 1 } as never

function policyOf(rules: readonly Rule[]): Policy {
  return { mode: 'enforce', rules, secretPaths: [], unknownAccounts: [] }
}

const segment = fc.constantFrom('a', 'b', '*')
const pattern = fc
  .tuple(fc.array(segment, { maxLength: 4 }), fc.constantFrom('', '/**'))
  .map(([segments, end]) => pathPattern(`/${segments.join('/')}`.replace(/\/$/, '') + end || '/'))
const numbers = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 3 })
const unitPattern = fc.constantFrom('a.service', 'b.service', '*.service', 'none').map(namePattern)
const lists = fc.record(
  {
    users: numbers.map((all) => new Set(all)),
    groups: numbers.map((all) => new Set(all)),
    units: fc.array(unitPattern, { minLength: 1, maxLength: 2 }),
  },
  { requiredKeys: [] },
)
const rule = fc.record({
  paths: fc.array(pattern, { minLength: 1, maxLength: 3 }),
  effect: fc.constantFrom('allow' as const, 'deny' as const),
  lists,
})
const path = fc
  .array(fc.constantFrom('a', 'b', 'c', ''), { maxLength: 5 })
  .map((segments) => `/${segments.join('/')}`)
const caller = fc.record({
  uid: fc.integer({ min: 0, max: 4 }),
  gid: fc.integer({ min: 0, max: 4 }),
  groups: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }),
  unit: fc.constantFrom('a.service', 'b.service', 'c.service', undefined),
})

test('the rule that decides is the first that matches, as if all had been asked', () => {
  fc.assert(
    fc.property(fc.array(rule, { maxLength: 12 }), path, caller, (drawn, asked, who) => {
      const rules = drawn.map(({ lists: named, ...one }, at): Rule => {
        return { ...one, ...named, number: at + 1, name: `rule ${at + 1}` }
      })
      const by: Caller = { ...CALLER, ...who } as Caller
      const first = rules.find((one) => mismatch(one, by, asked, undefined) === undefined)
      expect(decide(policyOf(rules), by, asked).rule).toBe(first?.number ?? 'default')
    }),
    { numRuns: 2000 },
  )
})

interface Written {
  readonly paths: readonly string[]
  readonly users?: ReadonlySet<number>
  readonly groups?: ReadonlySet<number>
  readonly units?: readonly string[]
}

const WRITTEN: readonly (readonly [what: string, written: (at: number) => Written])[] = [
  ['paths', (at: number) => ({ paths: [`/latest/meta-data/item-${at}`] })],
  ['paths below', (at: number) => ({ paths: [`/latest/meta-data/item-${at}/**`] })],
  ['users', (at: number) => ({ paths: ['/latest/**'], users: new Set([at]) })],
  ['groups', (at: number) => ({ paths: ['/latest/**'], groups: new Set([2000 + at]) })],
  ['units', (at: number) => ({ paths: ['/latest/**'], units: [`app-${at}.service`] })],
]

test.each(WRITTEN)(
  'of ten thousand rules that differ in their %s few are asked',
  (_what, written) => {
    let asked = 0
    const rules = Array.from({ length: 10_000 }, (_, at): Rule => {
      const { paths, units, ...lists } = written(at)
      const counted = paths.map((text) => {
        const real = pathPattern(text)
        const matches = (value: string) => {
          asked += 1
          return real.matches(value)
        }
        return { ...real, matches }
      })
      const named = units === undefined ? {} : { units: units.map(namePattern) }
      return { ...lists, ...named, number: at + 1, name: 'x', effect: 'allow', paths: counted }
    })
    const policy = policyOf(rules)
    decide(policy, CALLER, '/latest/meta-data/item-9999/x')
    decide(policy, { ...CALLER, unit: 'app-5000.service' }, '/latest/meta-data/item-5000')
    decide(policy, { ...CALLER, groups: [11_999] }, '/latest/meta-data/item-1')
    expect(asked).toBeLessThan(15)
  },
)

test('rules are put in order once for a policy, however often it is asked', () => {
  let read = 0
  const pattern = pathPattern('/latest/a')
  const counted = {
    ...pattern,
    get segments() {
      read += 1
      return pattern.segments
    },
  }
  const rules: Rule[] = [{ number: 1, name: 'x', effect: 'deny', paths: [counted] }]
  expect(decide(policyOf(rules), CALLER, '/latest/a').rule).toBe(1)
  const once = read
  expect(once).toBeGreaterThan(0)
  expect(decide(policyOf(rules), CALLER, '/latest/a').rule).toBe(1)
  expect(read).toBe(once)
})

test('what no rule names of a caller is not asked for', () => {
  const asked: string[] = []
  const noting = <T>(what: string, value: T) => {
    asked.push(what)
    return value
  }
  const ask = (lists: Partial<Rule>) => {
    asked.length = 0
    const paths = [pathPattern('/**')]
    const rules = [{ number: 1, name: 'x', effect: 'allow' as const, paths, ...lists }]
    ruleIndex(rules).candidates('/a', {
      uid: 1,
      gids: () => noting('gids', []),
      unit: () => noting('unit', 'none'),
    })
    return [...asked]
  }
  expect(ask({})).toEqual([])
  expect(ask({ users: new Set([1]) })).toEqual([])
  expect(ask({ groups: new Set([1]) })).toEqual(['gids'])
  expect(ask({ units: [namePattern('*.service')] })).toEqual(['unit'])
})
