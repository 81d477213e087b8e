import { openPidfd } from 'metabind-linux'
import { describe, expect, test } from 'vitest'
import type { AuditRecord } from '../../src/audit/audit.ts'
import type { Caller } from '../../src/caller/caller.ts'
import { LazyCaller } from '../../src/caller/lazy-caller.ts'
import { gate } from '../../src/policy/gate.ts'
import { parsePolicy } from '../../src/policy/parse.ts'
import type { Policy } from '../../src/policy/policy.ts'
import { readers } from '../../src/policy/readers.ts'

const SECRET = '/latest/user-data'
const OPEN = '/latest/meta-data/mac'

const parse = (text: string): Promise<Policy> =>
  parsePolicy(text, 'policy.toml', {
    lookUp: async () => ({ users: new Map(), groups: new Map() }),
    secretPaths: [SECRET],
    seesExecutables: false,
  })
const rule = (effect: string, path: string) =>
  `[[rule]]\neffect = "${effect}"\npaths = ["${path}"]\n`
const caller = (uid: number): Caller => ({ pid: 1, uid, gid: uid, groups: [], namespaces: [] })

async function gateOf(text: string) {
  const inForce = { policy: await parse(text) }
  const records: AuditRecord[] = []
  const table = readers(() => 0)
  const audit = (record: AuditRecord) => void records.push(record)
  return { inForce, records, table, ...gate(() => inForce.policy, audit, table) }
}

test('what was found for a caller counts for no other path', async () => {
  const { permit, isSecret } = await gateOf(rule('deny', OPEN))
  const who = caller(0)
  expect(() => permit(who, OPEN)).toThrow(expect.objectContaining({ code: 'POLICY_DENIED' }))
  expect(() => permit(who, SECRET)).not.toThrow()
  expect([isSecret(who, SECRET), isSecret(who, OPEN)]).toEqual([true, false])
  expect(() => permit(who, OPEN)).toThrow()
})

test('nor for another caller', async () => {
  const { permit } = await gateOf('')
  expect(() => permit(caller(0), SECRET)).not.toThrow()
  expect(() => permit(caller(1001), SECRET)).toThrow()
})

test('nor under another policy, at its first request', async () => {
  const { permit, inForce } = await gateOf('')
  const who = caller(1001)
  permit(who, OPEN)
  inForce.policy = await parse(rule('deny', OPEN))
  expect(() => permit(who, OPEN)).toThrow()
  inForce.policy = await parse('')
  expect(() => permit(who, OPEN)).not.toThrow()
})

const AUDIT = 'mode = "audit"\n'

test('who is refused is told by a record, and counted', async () => {
  const { permit, records, table } = await gateOf('')
  const who = caller(1001)
  expect(() => permit(who, SECRET)).toThrow()
  const denied = { event: 'policy.refused', code: 'POLICY_DENIED', caller: who, path: SECRET }
  expect(records).toEqual([{ ...denied, rule: 'default', detail: expect.any(String) }])
  permit(who, OPEN)
  expect(records).toHaveLength(1)
  const counts = { allowed: 0, 'would-refuse': 0, refused: 0 }
  expect(table.rows().map((row) => row.counts)).toEqual([
    { ...counts, refused: 1 },
    { ...counts, allowed: 1 },
  ])
})

test('a policy that only records lets through what it would refuse', async () => {
  const { permit, records, table } = await gateOf(AUDIT)
  permit(caller(1001), SECRET)
  expect(records).toMatchObject([{ event: 'policy.would-refuse', code: 'POLICY_DENIED' }])
  expect(table.rows()[0]?.counts).toEqual({ allowed: 0, 'would-refuse': 1, refused: 0 })
})

test('what was found for a long path is found again, and is the same', async () => {
  const long = `/latest/meta-data/${'a'.repeat(300)}`
  const { permit } = await gateOf(rule('deny', long))
  const who = caller(0)
  for (let time = 0; time < 2; time += 1) {
    expect(() => permit(who, long)).toThrow()
    expect(() => permit(who, OPEN)).not.toThrow()
  }
})

/** The same policy, and how often a path of it is compared with a pattern. */
function counting(policy: Policy): { policy: Policy; compared: () => number } {
  let compared = 0
  const secretPaths = policy.secretPaths.map((pattern) => {
    const matches = (path: string) => {
      compared += 1
      return pattern.matches(path)
    }
    return { ...pattern, matches }
  })
  return { policy: { ...policy, secretPaths }, compared: () => compared }
}

test('it is found once for a caller and a path, if that is not too long to be remembered', async () => {
  const { permit, inForce } = await gateOf('')
  const { policy, compared } = counting(inForce.policy)
  inForce.policy = policy
  const times = (path: string, who: Caller) => {
    const before = compared()
    permit(who, path)
    return compared() - before
  }
  const at = (characters: number) => '/latest/'.padEnd(characters, 'x')
  const who = caller(0)
  const once = times(at(256), who)
  expect(once).toBeGreaterThan(0)
  expect([times(at(256), who), times(at(256), who)]).toEqual([0, 0])
  expect([times(at(257), who), times(at(257), who)]).toEqual([once, once])
  // Nor does it take the place of what is remembered.
  expect(times(at(256), who)).toBe(0)
})

describe('when the answer is there', () => {
  test('it is refused if another policy denies it by then, and told and counted as a refusal', async () => {
    const { permit, permitStill, inForce, records, table } = await gateOf('')
    const who = caller(1001)
    permit(who, OPEN)
    inForce.policy = await parse(rule('deny', OPEN))
    expect(() => permitStill(who, OPEN)).toThrow(expect.objectContaining({ code: 'POLICY_DENIED' }))
    expect(records).toMatchObject([{ event: 'policy.refused', caller: who, path: OPEN }])
    expect(table.rows()[0]?.counts).toEqual({ allowed: 1, 'would-refuse': 0, refused: 1 })
  })

  test('what is still allowed, or only recorded, counts once', async () => {
    const { permit, permitStill, inForce, records, table } = await gateOf('')
    const who = caller(1001)
    permit(who, OPEN)
    permitStill(who, OPEN)
    inForce.policy = await parse(`${AUDIT}${rule('deny', OPEN)}`)
    expect(() => permitStill(who, OPEN)).not.toThrow()
    expect(records).toEqual([])
    expect(table.rows()[0]?.counts).toEqual({ allowed: 1, 'would-refuse': 0, refused: 0 })
  })
})

test('what callers got is recorded once for each kind of caller and path, while the policy only records', async () => {
  const { seen, records, inForce } = await gateOf(AUDIT)
  const alike = [caller(1001), { ...caller(1001), pid: 2 }]
  const others = [
    caller(1002),
    { ...caller(1001), unit: 'a.service' },
    { ...caller(1001), container: 'c1' },
    { ...caller(1001), namespaces: ['pid'] as const },
  ]
  for (const who of [...alike, ...others, ...alike, ...others]) seen(who, OPEN)
  seen(caller(1001), SECRET)
  const [first] = alike
  expect(records).toEqual([
    { event: 'policy.seen', caller: first, path: OPEN },
    ...others.map((who) => ({ event: 'policy.seen', caller: who, path: OPEN })),
    { event: 'policy.seen', caller: caller(1001), path: SECRET },
  ])
  inForce.policy = await parse('')
  seen(caller(1003), OPEN)
  expect(records).toHaveLength(6)
})

test('under another policy it is recorded again', async () => {
  const { seen, records, inForce } = await gateOf(AUDIT)
  seen(caller(1001), OPEN)
  inForce.policy = await parse(AUDIT)
  seen(caller(1001), OPEN)
  seen(caller(1001), OPEN)
  expect(records).toHaveLength(2)
})

test('what is remembered of it is bounded: then it is recorded a second time', async () => {
  const { seen, records } = await gateOf(AUDIT)
  const see = (uid: number) => seen(caller(uid), OPEN)
  for (let uid = 0; uid < 4095; uid += 1) see(uid)
  see(0)
  expect(records).toHaveLength(4095)
  see(4095)
  see(0)
  expect(records).toHaveLength(4097)
})

test.each([
  ['that is open', '', OPEN, false],
  ['that is secret', '', SECRET, true],
  ['of any kind, if the policy only records', AUDIT, OPEN, true],
])(
  'who asks for a path %s is looked at as far as the record needs',
  async (_, text, path, isRead) => {
    const { permit } = await gateOf(text)
    const pidfd = openPidfd(process.pid)
    if (pidfd === undefined) throw new Error('no pidfd')
    const who = new LazyCaller({ pid: process.pid, uid: 0, gid: 0 }, [], pidfd)
    permit(who, path)
    expect(who.isRead).toBe(isRead)
  },
)
