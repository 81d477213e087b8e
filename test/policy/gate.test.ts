import { expect, test } from 'vitest'
import type { Caller } from '../../src/caller/caller.ts'
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
  return {
    inForce,
    ...gate(
      () => inForce.policy,
      () => undefined,
      readers(() => 0),
    ),
  }
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
