import { describe, expect, test } from 'vitest'
import type { AuditRecord } from '../../src/audit/audit.ts'
import type { Caller } from '../../src/caller/caller.ts'
import { explainProof } from '../../src/policy/explain.ts'
import { gate } from '../../src/policy/gate.ts'
import { openProofs, parsePolicy } from '../../src/policy/parse.ts'
import { decide, decideProof, namedOfCallers, type Policy } from '../../src/policy/policy.ts'
import { readProofUrl } from '../../src/policy/proof-url.ts'
import { readers } from '../../src/policy/readers.ts'

/** Who may have proofs for which requests. */

const parse = (text: string): Promise<Policy> =>
  parsePolicy(text, 'policy.toml', {
    lookUp: async () => ({ users: new Map([['app', 1001]]), groups: new Map() }),
    secretPaths: [],
    seesExecutables: true,
  })
const caller = (uid: number, more: Partial<Caller> = {}): Caller => ({
  ...{ pid: 1, uid, gid: uid, groups: [], namespaces: [], ...more },
})
const asked = (url: string, method?: string) => ({ url: readProofUrl(url), method })
const rule = (lines: string, effect = 'allow') => `[[rule]]\neffect = "${effect}"\n${lines}\n`
const APP = rule('users = ["app"]\nproofs = ["https://api.example/orders/**"]')
const ORDERS = 'https://api.example/orders/7'

describe('a rule that is refused', () => {
  test.each([
    ['api.example/**', 'must be https://'],
    ['https://api.example', 'must be https://'],
    ['ftp://api.example/**', 'must be https://'],
    ['https://API.example/**', 'small letters'],
    ['https://a*.example/**', 'whole label'],
    ['https:///**', 'small letters'],
    ['https://api.example:443/**', 'leave out the port'],
    ['https://api.example:x/**', 'small letters'],
    ['https://user@api.example/**', 'small letters'],
    ['https://api.example/a/', 'slash at its end'],
    ['https://api.example/a?b', 'cannot match'],
    ['https://api.example/../a', 'dot segments'],
  ])('%s is refused', async (pattern, why) => {
    const text = rule(`proofs = ["${pattern}"]`)
    await expect(parse(text)).rejects.toMatchObject({
      code: 'POLICY_INVALID',
      detail: expect.stringContaining(why),
    })
  })

  test.each([
    ['with paths and proofs', 'paths = ["/**"]\nproofs = ["https://h/**"]', 'rule 1: paths'],
    ['with neither', 'users = ["app"]', 'rule 1: paths'],
    ['with methods and paths', 'paths = ["/**"]\nmethods = ["GET"]', 'rule 1: methods'],
    ['with a method in small letters', 'proofs = ["https://h/**"]\nmethods = ["get"]', 'methods'],
    ['with no method', 'proofs = ["https://h/**"]\nmethods = []', 'methods'],
  ])('%s', async (_, lines, where) => {
    await expect(parse(rule(lines))).rejects.toMatchObject({
      code: 'POLICY_INVALID',
      detail: expect.stringContaining(where),
    })
  })
})

describe('who may have a proof', () => {
  test('without a rule nobody, root neither', async () => {
    for (const text of ['', rule('paths = ["/**"]'), 'mode = "audit"']) {
      const found = decideProof(await parse(text), caller(0), asked(ORDERS, 'GET'))
      expect(found).toMatchObject({ allowed: false, rule: 'default' })
    }
  })

  test('only whom a rule names, for its URLs', async () => {
    const policy = await parse(APP)
    const of = (who: Caller, url: string, method?: string) =>
      decideProof(policy, who, asked(url, method)).allowed
    expect(of(caller(1001), ORDERS, 'DELETE')).toBe(true)
    expect(of(caller(1001), ORDERS)).toBe(true)
    expect(of(caller(1002), ORDERS, 'GET')).toBe(false)
    expect(of(caller(0), ORDERS, 'GET')).toBe(false)
    expect(of(caller(1001), 'https://api.example/', 'GET')).toBe(false)
    expect(of(caller(1001, { container: 'c1' }), ORDERS, 'GET')).toBe(false)
  })

  test('a proof that names no method is for whom all methods are', async () => {
    const some = await parse(
      rule('users = ["app"]\nproofs = ["https://api.example/**"]\nmethods = ["GET", "HEAD"]'),
    )
    const of = (policy: Policy, method?: string) =>
      decideProof(policy, caller(1001), asked(ORDERS, method)).allowed
    expect([of(some, 'GET'), of(some, 'POST'), of(some)]).toEqual([true, false, false])
    const denied = rule('proofs = ["https://api.example/**"]\nmethods = ["DELETE"]', 'deny')
    const others = await parse(denied + APP)
    expect([of(others, 'GET'), of(others, 'DELETE'), of(others)]).toEqual([true, false, false])
  })

  test('rules of paths and of proofs do not speak of each other', async () => {
    const policy = await parse(rule('paths = ["/**"]', 'deny') + APP)
    expect(decideProof(policy, caller(1001), asked(ORDERS, 'GET'))).toMatchObject({ rule: 2 })
    expect(decide(await parse(APP), caller(1001), '/latest/user-data')).toMatchObject({
      rule: 'default',
    })
  })

  test('what rules for proofs name of callers is read of them', async () => {
    const policy = await parse(rule('units = ["app.service"]\nproofs = ["https://h/**"]'))
    expect(namedOfCallers(policy).isPlace).toBe(true)
  })

  test('rules for everybody are found', async () => {
    const policy = await parse(APP + rule('proofs = ["https://h/**"]'))
    expect(openProofs(policy).map(({ number }) => number)).toEqual([2])
  })

  test('the rule that decides is told, and what did not match in those before it', async () => {
    const policy = await parse(
      rule('paths = ["/**"]') +
        rule('users = ["app"]\nproofs = ["https://api.example/**"]\nmethods = ["GET"]') +
        rule('users = [0]\nproofs = ["https://api.example/**"]') +
        APP,
    )
    const who = { uid: 1001, gid: 1001, groups: [] }
    expect(explainProof(policy, { ...who, url: `${ORDERS}?a`, method: 'POST' })).toEqual({
      ...{ allowed: true, rule: 4, why: 'rule 4 (unnamed) allows it', url: ORDERS, method: 'POST' },
      passedOver: [
        { rule: 1, name: 'unnamed', mismatch: 'proofs' },
        { rule: 2, name: 'unnamed', mismatch: 'methods' },
        { rule: 3, name: 'unnamed', mismatch: 'users' },
      ],
    })
  })
})

test('who is refused is told by a record, and counted, in audit mode as well', async () => {
  const policy = await parse(`mode = "audit"\n${APP}`)
  const records: AuditRecord[] = []
  const table = readers(() => 0)
  const { permitProof, permitProofStill } = gate(
    () => policy,
    (record) => void records.push(record),
    table,
  )
  const refused = expect.objectContaining({ code: 'PROOF_DENIED' })
  const path = '/metabind/v1/proof'
  expect(permitProof(caller(1001), asked(ORDERS, 'GET'), path).rule).toBe(1)
  permitProofStill(caller(1001), asked(ORDERS, 'GET'), path)
  expect(() => permitProof(caller(1002), asked(ORDERS, 'GET'), path)).toThrow(refused)
  expect(() => permitProofStill(caller(1002), asked(ORDERS), path)).toThrow(refused)
  const record = { event: 'policy.refused', code: 'PROOF_DENIED', path, rule: 'default' }
  expect(records).toMatchObject([
    { ...record, detail: expect.stringMatching(/: GET https:\/\/api.example\/orders\/7$/) },
    { ...record, detail: expect.stringMatching(/: any method https:/) },
  ])
  expect(table.rows().map(({ kind, counts }) => [kind, counts.allowed, counts.refused])).toEqual([
    ['identity', 1, 0],
    ['identity', 0, 2],
  ])
})
