import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Caller } from '../../src/caller/caller.ts'
import { aliyun } from '../../src/dialect/aliyun.ts'
import { parsePolicy } from '../../src/policy/parse.ts'
import { decide } from '../../src/policy/policy.ts'
import { parseSeen, suggestPolicy } from '../../src/policy/suggest.ts'

const PARTS = {
  lookUp: async () => ({ users: new Map(), groups: new Map() }),
  secretPaths: aliyun.secretPaths,
  seesExecutables: false,
}
const ROLE = '/latest/meta-data/ram/security-credentials/role'

function caller(uid: number, more: Partial<Caller> = {}): Caller {
  return { pid: 1, uid, gid: 1, groups: [], namespaces: [], ...more }
}

const line = (who: object, path: string, event = 'policy.seen') =>
  JSON.stringify({ level: 'info', time: 'x', audit: true, event, caller: who, path, msg: event })

test('the suggested text', () => {
  const app = caller(1001, { unit: 'app@1.service' })
  const seen = [
    { caller: app, path: ROLE },
    { caller: app, path: '/latest/meta-data/mac' },
    { caller: caller(0, { unit: 'session-7.scope', container: 'c1' }), path: '/' },
  ]
  expect(suggestPolicy(seen, aliyun.secretPaths).split('\n').slice(3).join('\n')).toBe(`
[[rule]]
effect = "allow"
users = [0]
units = ["session-*.scope"]
containers = ["c1"]
paths = [
  "/",
]

[[rule]]
effect = "allow"
users = [1001]
units = ["app@1.service"]
paths = [
  "/latest/meta-data/mac",
  "/latest/meta-data/ram/security-credentials/role",  # secret
]

[[rule]]
name = "nothing else"
effect = "deny"
paths = ["/**"]
`)
})

const units = fc.constantFrom(undefined, 'a.service', 'b@1.service', 'x\\x2dy.scope')
const containers = fc.constantFrom(undefined, 'c1', 'c2')
const namespaces = fc.constantFrom<Caller['namespaces']>([], ['pid'], ['user'])
const callers = fc
  .tuple(fc.integer({ min: 0, max: 2 }), units, containers, namespaces)
  .map(([uid, unit, container, spaces]) =>
    caller(uid, {
      ...(unit === undefined ? {} : { unit }),
      ...(container === undefined ? {} : { container }),
      namespaces: spaces,
    }),
  )
const paths = fc.constantFrom('/', '/latest/meta-data/mac', '/latest/user-data', ROLE)

/** What a suggestion may tell callers by: not the pid, and one namespace is as another. */
const who = ({ uid, unit, container, namespaces: spaces }: Caller) =>
  `${uid} ${unit} ${container ?? spaces.length > 0}`

test('replayed, it allows exactly what was seen', async () => {
  const seenOf = fc.array(fc.record({ caller: callers, path: paths }), {
    minLength: 1,
    maxLength: 12,
  })
  await fc.assert(
    fc.asyncProperty(seenOf, fc.array(callers), async (seen, others) => {
      const log = seen.map((one) => parseSeen(line(one.caller, one.path)))
      const text = suggestPolicy(
        log.filter((one) => one !== undefined),
        aliyun.secretPaths,
      )
      const policy = await parsePolicy(text, 'suggestion', PARTS)
      const wasSeen = new Set(seen.map((one) => `${who(one.caller)} ${one.path}`))
      for (const one of [...seen.map((entry) => entry.caller), ...others]) {
        for (const path of ['/', '/latest/meta-data/mac', '/latest/user-data', ROLE, '/other']) {
          expect(decide(policy, one, path).allowed).toBe(wasSeen.has(`${who(one)} ${path}`))
        }
      }
    }),
    { numRuns: 100 },
  )
})

test.each([
  ['another event', line(caller(1), '/a', 'policy.refused')],
  ['no caller', line({}, '/a')],
  ['not JSON', 'Nov 23 metabindd: hello'],
  ['a unit that would be a pattern', line(caller(1, { unit: '*.service' }), '/a')],
  ['a container that would be a pattern', line(caller(1, { container: '*' }), '/a')],
  ['a unit that would end its string', line(caller(1, { unit: 'a"]\n[[rule]]' }), '/a')],
])('nothing is learned from %s', (_what, text) => {
  expect(parseSeen(text)).toBeUndefined()
})

test.each([
  ['/latest/*/x', 'POLICY_INVALID'],
  ['/**', 'POLICY_INVALID'],
  ['/a/../b', 'REQUEST_PATH'],
  ['/a/', 'POLICY_INVALID'],
  ['a', 'REQUEST_PATH'],
])('%s cannot stand in a rule', (path, code) => {
  expect(() => parseSeen(line(caller(1), path))).toThrow(expect.objectContaining({ code }))
})

test.each([
  ['session-7.scope', 'session-*.scope'],
  ['session-c12.scope', 'session-*.scope'],
  ['xsession-7.scope', 'xsession-7.scope'],
  ['session-7.scope.x', 'session-7.scope.x'],
  ['session-A7.scope', 'session-A7.scope'],
  ['session-.scope', 'session-.scope'],
])('a caller in %s is written as one in %s', (unit, written) => {
  const text = suggestPolicy([{ caller: caller(1, { unit }), path: '/' }], [])
  expect(text).toContain(`units = ["${written}"]`)
})

test('a caller over TCP, in a network of its own, is one that was seen', () => {
  const who = caller(1, { namespaces: ['network'] })
  expect(parseSeen(line(who, '/a'))).toEqual({ caller: who, path: '/a' })
})
