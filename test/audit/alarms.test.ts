import { expect, test } from 'vitest'
import { ALARMS_MAX, alarms } from '../../src/audit/alarms.ts'
import type { Caller } from '../../src/caller/caller.ts'

const caller = (uid: number, pid = 1): Caller => ({
  ...{ pid, uid, gid: uid, groups: [], namespaces: [] },
})
const foreign = (uid: number, detail = 'aa') =>
  ({ event: 'token.foreign', caller: caller(uid), detail }) as const

test('a user that presents any number of foreign tokens is one alarm', () => {
  let nowMs = 0
  const kept = alarms(() => nowMs)
  for (nowMs = 1; nowMs <= 100; nowMs += 1) kept.note(foreign(1, `identity ${nowMs}`))
  kept.note({ event: 'token.refused', caller: caller(2) })
  expect(kept.list()).toMatchObject([
    { uid: 1, count: 100, identity: 'identity 100', firstAtMs: 1, lastAtMs: 100 },
  ])
})

test('one that was acknowledged says by whom, until another token comes', () => {
  const kept = alarms(() => 5)
  kept.note(foreign(1))
  const [alarm] = kept.list()
  expect(kept.acknowledge(alarm?.id ?? 0, caller(0))).toMatchObject({
    acknowledged: { atMs: 5, uid: 0 },
  })
  kept.note(foreign(1))
  expect(kept.list()).toMatchObject([{ count: 2, acknowledged: undefined }])
})

test('there is none of another number', () => {
  expect(alarms(() => 0).acknowledge(1, caller(0))).toBeUndefined()
})

test('they are bounded: acknowledged ones go first, then the oldest, never the newest', () => {
  let nowMs = 0
  const kept = alarms(() => nowMs)
  for (let uid = 1; uid <= ALARMS_MAX; uid += 1) {
    nowMs += 1
    kept.note(foreign(uid))
  }
  const seen = kept.list().find(({ uid }) => uid === ALARMS_MAX)
  kept.acknowledge(seen?.id ?? 0, caller(0))
  nowMs += 1
  kept.note(foreign(1000))
  kept.note(foreign(1001))
  const uids = kept.list().map(({ uid }) => uid)
  expect(uids).toHaveLength(ALARMS_MAX)
  expect([ALARMS_MAX, 1, 2, 1000, 1001].map((uid) => uids.includes(uid))).toEqual([
    ...[false, false, true, true, true],
  ])
})

test('a caller that nobody can name is an alarm all the same', () => {
  const kept = alarms(() => 0)
  kept.note({ event: 'token.foreign', uid: 7, detail: 'x'.repeat(5000) })
  expect(kept.list()).toMatchObject([{ uid: 7, caller: undefined, count: 1 }])
  expect(kept.list()[0]?.identity.length).toBeLessThanOrEqual(256)
})

test('whoever names containers at will drives out no alarm of another user', () => {
  let nowMs = 0
  const kept = alarms(() => nowMs)
  kept.note(foreign(7))
  for (nowMs = 1; nowMs <= 2 * ALARMS_MAX; nowMs += 1) {
    const contained = { ...caller(1), container: `c${nowMs}` }
    kept.note({ event: 'token.foreign', caller: contained, detail: 'aa' })
    // Nor who has many numbers, and ends before it can be looked at.
    kept.note({ event: 'token.foreign', uid: 100_000 + nowMs, detail: 'aa' })
  }
  expect(kept.list()).toHaveLength(ALARMS_MAX)
  expect(kept.list().some(({ uid }) => uid === 7)).toBe(true)
})

test('what is kept of a caller is not the object of its connection', () => {
  const kept = alarms(() => 0)
  const record = foreign(1)
  kept.note(record)
  expect(kept.list()[0]?.caller).not.toBe(record.caller)
})

test('each has a number, by which it is acknowledged, and may name no instance', () => {
  const kept = alarms(() => 0)
  for (const uid of [1, 2, 3]) kept.note({ event: 'token.foreign', caller: caller(uid) })
  expect(kept.list().map(({ id, identity }) => [id, identity])).toEqual([
    [1, ''],
    [2, ''],
    [3, ''],
  ])
  expect(kept.acknowledge(2, caller(0))?.uid).toBe(2)
  expect(kept.list().map(({ id }) => id)).toEqual([1, 3, 2])
})

test('an acknowledged one goes first, though its user has fewer than another', () => {
  const kept = alarms(() => 0)
  kept.note(foreign(7))
  kept.acknowledge(1, caller(0))
  for (let at = 0; at < ALARMS_MAX; at += 1) {
    kept.note({ event: 'token.foreign', caller: { ...caller(1), container: `c${at}` } })
  }
  expect(kept.list().some(({ uid }) => uid === 7)).toBe(false)
  expect(kept.list()).toHaveLength(ALARMS_MAX)
  // All of them came at the same time; the one that came last is there.
  kept.note({ event: 'token.foreign', caller: { ...caller(1), container: 'newest' } })
  expect(kept.list().some((one) => one.caller?.container === 'newest')).toBe(true)
})
