import { describe, expect, test } from 'vitest'
import type { AuditRecord } from '../../src/audit/audit.ts'
import type { Caller } from '../../src/caller/caller.ts'
import { askedFor, targetFor } from '../../src/policy/audience.ts'
import { explainFor } from '../../src/policy/explain.ts'
import { gate } from '../../src/policy/gate.ts'
import { parsePolicy } from '../../src/policy/parse.ts'
import { decide } from '../../src/policy/policy.ts'
import { readers } from '../../src/policy/readers.ts'
import { parseSeen, suggestPolicy } from '../../src/policy/suggest.ts'

/** For whom a token is: what the query says, and what rules make of it. */

const TOKEN = '/metabind/v1/token'
const IDENTITY = '/metabind/v1/identity'
const AWS = 'sts.amazonaws.com'

const parse = (text: string) =>
  parsePolicy(text, 'policy.toml', {
    lookUp: async () => ({ users: new Map(), groups: new Map() }),
    secretPaths: [],
    seesExecutables: false,
  })
const caller = (uid: number): Caller => ({ pid: 1, uid, gid: uid, groups: [], namespaces: [] })
const rule = (lines: string, path = TOKEN, effect = 'allow') =>
  `[[rule]]\neffect = "${effect}"\npaths = ["${path}"]\n${lines}\n`

describe('the query', () => {
  test.each([
    [IDENTITY, 'audience=a:b', { audience: 'a:b', format: undefined }],
    [TOKEN, 'audience=a&format=jwt-svid', { audience: 'a', format: 'jwt-svid' }],
    [
      TOKEN,
      'format=wit&audience=https%3A%2F%2Fa%3Fx%3D1',
      { audience: 'https://a?x=1', format: 'wit' },
    ],
    ['/latest/user-data', 'audience=a', undefined],
  ])('%s?%s is read', (path, query, asked) => {
    expect(askedFor(path, query)).toEqual(asked)
  })

  test.each([
    [TOKEN, undefined],
    [TOKEN, ''],
    [TOKEN, 'audience='],
    [TOKEN, 'format=wit'],
    [TOKEN, 'audience=a&audience=b'],
    [TOKEN, 'audience=a&format=x&format=y'],
    [TOKEN, 'audience=a&other=b'],
    [TOKEN, 'audience=a&'],
    [TOKEN, 'audience=a&format'],
    [IDENTITY, 'audience=a&format=wit'],
    [IDENTITY, 'audience=a%20b'],
    [IDENTITY, 'audience=%FF'],
    [IDENTITY, 'audience=%zz'],
    [IDENTITY, `audience=${'a'.repeat(257)}`],
  ])('%s?%s is refused', (path, query) => {
    expect(() => askedFor(path, query)).toThrow(expect.objectContaining({ code: 'REQUEST_QUERY' }))
  })

  test('what a target is made of, it is read as', () => {
    for (const audience of [AWS, '//iam.googleapis.com/x?y=&%25#+', 'a'.repeat(256)]) {
      const query = targetFor(TOKEN, audience).split('?').slice(1).join('?')
      expect(askedFor(TOKEN, query)?.audience).toBe(audience)
    }
  })
})

describe('the registrar’s tokens', () => {
  test('without a rule are for root alone', async () => {
    const policy = await parse('')
    expect(decide(policy, caller(0), TOKEN, AWS).allowed).toBe(true)
    expect(decide(policy, caller(1001), TOKEN, AWS).allowed).toBe(false)
  })

  test('are opened by rules that name the audience, and by no other', async () => {
    const policy = await parse(rule(`users = [1001]\naudiences = ["${AWS}", "https://*.example/"]`))
    const allowed = (audience?: string) => decide(policy, caller(1001), TOKEN, audience).allowed
    expect([AWS, 'https://a.example/'].map(allowed)).toEqual([true, true])
    const others = [undefined, '', 'sts.aliyuncs.com', `${AWS}.cn`, 'https://a/.example/']
    expect(others.map(allowed)).toEqual(others.map(() => false))
    expect(decide(policy, caller(1002), TOKEN, AWS).allowed).toBe(false)
  })

  test('are not opened by a rule for all paths, which was written before them', async () => {
    const policy = await parse(rule('users = [1001]', '/**'))
    expect(decide(policy, caller(1001), IDENTITY, 'a').allowed).toBe(true)
    expect(decide(policy, caller(1001), TOKEN, AWS)).toMatchObject({
      allowed: false,
      rule: 'default',
    })
  })

  test('are denied by a rule without audiences, and by one that names them', async () => {
    const all = await parse(rule('', '/**', 'deny'))
    expect(decide(all, caller(0), TOKEN, AWS)).toMatchObject({ allowed: false, rule: 1 })
    const one = await parse(rule(`audiences = ["${AWS}"]`, '/**', 'deny'))
    expect(decide(one, caller(0), TOKEN, AWS).allowed).toBe(false)
    expect(decide(one, caller(0), TOKEN, 'b').allowed).toBe(true)
    expect(decide(one, caller(0), '/latest/meta-data').rule).toBe('default')
  })
})

test.each([
  [rule('audiences = ["a"]', '/latest/**'), 'take an audience'],
  [rule('users = [1]'), 'has to name the audiences'],
  [rule('users = [1]', `${TOKEN}/**`), 'has to name the audiences'],
  [rule('audiences = []'), 'must not be empty'],
  [rule('audiences = ["a b"]'), 'without blanks'],
  [rule('audiences = ["**"]'), 'single asterisks'],
])('a rule that could never match is refused: %j', async (text, why) => {
  await expect(parse(text)).rejects.toMatchObject({ detail: expect.stringContaining(why) })
})

test('explain says which rule decides for an audience, and that it was the audience', async () => {
  const policy = await parse(
    rule('audiences = ["b"]') + rule(`users = [1001]\naudiences = ["${AWS}"]`),
  )
  const explained = explainFor(policy, caller(1001), targetFor(TOKEN, AWS))
  expect(explained).toMatchObject({ allowed: true, rule: 2, path: TOKEN })
  expect(explained.passedOver).toEqual([{ rule: 1, name: 'unnamed', mismatch: 'audiences' }])
  expect(explainFor(policy, caller(1001), TOKEN)).toMatchObject({ allowed: false })
  expect(() => explainFor(policy, caller(0), `${TOKEN}?audience=`)).toThrow()
})

test('what was found for one audience counts for no other on the same connection', async () => {
  const policy = await parse(rule(`users = [1001]\naudiences = ["${AWS}"]`))
  const records: AuditRecord[] = []
  const table = readers(() => 0)
  const { permit } = gate(
    () => policy,
    (record) => void records.push(record),
    table,
  )
  const who = caller(1001)
  expect(() => permit(who, TOKEN, AWS)).not.toThrow()
  expect(() => permit(who, TOKEN, 'other')).toThrow()
  expect(() => permit(who, TOKEN, AWS)).not.toThrow()
  expect(records).toMatchObject([{ event: 'policy.refused', path: TOKEN, audience: 'other' }])
  expect(table.rows()).toMatchObject([{ kind: 'identity', path: targetFor(TOKEN, AWS) }])
})

describe('a policy that is suggested', () => {
  const line = (path: string, audience?: string) =>
    JSON.stringify({ audit: true, event: 'policy.seen', caller: caller(1001), path, audience })

  test('opens the audiences that were asked for, and nothing more', async () => {
    const seen = [line(TOKEN, AWS), line(IDENTITY, 'https://a/'), line('/latest')].flatMap(
      (text) => parseSeen(text) ?? [],
    )
    const policy = await parse(suggestPolicy(seen, []))
    for (const { path, audience } of seen) {
      expect(decide(policy, caller(1001), path, audience).allowed).toBe(true)
    }
    expect(decide(policy, caller(1001), TOKEN, 'https://a/').allowed).toBe(false)
    expect(decide(policy, caller(1001), IDENTITY, AWS).allowed).toBe(false)
  })

  test('leaves out an audience that in a rule would match others', () => {
    expect(() => parseSeen(line(TOKEN, 'a*'))).toThrow()
    expect(() => parseSeen(line('/latest', 'a'))).toThrow()
    expect(() => parseSeen(line(TOKEN, 'a b'))).toThrow()
  })
})
