import { createHmac } from 'node:crypto'
import { expect, test } from 'vitest'
import { MetabindError } from '../../src/errors.ts'
import { iidOf, keyContext } from '../../src/format/instance-identity.ts'
import { Secret } from '../../src/secret.ts'
import type { DeriveRoots } from '../../src/token/derive-key.ts'
import { boundKeys } from '../../src/token/keys.ts'
import type { Revocations } from '../../src/token/revocations.ts'

/** What keys.test.ts holds on a TPM, with keys of software in its place: for each change of a line at once. */

const name = (fill: number) => Buffer.alloc(34, fill)
const IDENTITY = {
  ...{ dialect: 'aliyun', instanceId: 'i-1' },
  ...{ ekName: name(1), akName: name(2), rkName: name(3) },
}

function bench() {
  const asked: Buffer[] = []
  const state = { generation: 'a'.repeat(32), fails: false, revoked: [] as [string, number][] }
  const hmac = (key: string, message: Buffer) => createHmac('sha256', key).update(message).digest()
  const derive: DeriveRoots = async (messages) => {
    if (state.fails) throw new MetabindError('TPM_ABSENT')
    asked.push(...messages)
    return messages.map((one) => ({ fromRoot: hmac('root', one), fromBoot: hmac('boot', one) }))
  }
  const revocations: Revocations = {
    get generation() {
      return state.generation
    },
    isRevoked: (random) => random === 'revoked',
    revokeToken: (random, expiresAtMs) => void state.revoked.push([random, expiresAtMs]),
    revokeAll: () => {
      state.generation = 'b'.repeat(32)
    },
  }
  const salt = new Secret(Buffer.alloc(32, 'salt'))
  const binding = { identity: IDENTITY, bootId: 'a boot', salt, revocations, derive }
  const keys = boundKeys({ ...binding, bootTimeMs: () => 0 })
  /** Whether the last keys were made in the context of a generation. */
  const wereOf = (generation: string) =>
    asked.at(-1)?.includes(keyContext(IDENTITY, 'a boot', generation))
  return { keys, state, wereOf }
}

test('what names the instance is there before any key', () => {
  const { keys } = bench()
  expect(keys.identity).toBe(IDENTITY)
  expect(keys.iid).toBe(iidOf(IDENTITY).toString('hex'))
  expect(keys.iidPrefix).toBe(keys.iid.slice(0, 16))
  expect([keys.count, keys.isCurrent(), keys.key(0)]).toEqual([0, false, undefined])
})

test('the keys of this hour and the next are those of the generation, until they are cleared', async () => {
  const { keys, wereOf } = bench()
  await keys.refresh()
  expect([keys.count, keys.isCurrent()]).toEqual([2, true])
  expect(wereOf('a'.repeat(32))).toBe(true)
  const key = keys.key(0)
  keys.clear()
  expect(key).toEqual(Buffer.alloc(32))
  expect([keys.count, keys.isCurrent(), keys.key(0)]).toEqual([0, false, undefined])
})

test('single tokens are revoked where that is kept', () => {
  const { keys, state } = bench()
  expect([keys.isRevoked('revoked'), keys.isRevoked('another')]).toEqual([true, false])
  keys.revokeToken('one', 5)
  expect(state.revoked).toEqual([['one', 5]])
})

test('revoking all wipes the keys and makes those of the next generation at once', async () => {
  const { keys, wereOf } = bench()
  await keys.refresh()
  const old = keys.key(0)
  const before = Buffer.from(old ?? '')
  await keys.revokeAll()
  expect(old).toEqual(Buffer.alloc(32))
  expect(wereOf('b'.repeat(32))).toBe(true)
  expect(keys.key(0)).toHaveLength(32)
  expect(keys.key(0)).not.toEqual(before)
})

test('and leaves none where they cannot be made', async () => {
  const { keys, state } = bench()
  await keys.refresh()
  const old = keys.key(0)
  state.fails = true
  await expect(keys.revokeAll()).rejects.toMatchObject({ code: 'TPM_ABSENT' })
  expect(old).toEqual(Buffer.alloc(32))
  expect([keys.count, keys.isCurrent()]).toEqual([0, false])
})
