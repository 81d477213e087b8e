import { openPidfd } from 'metabind-linux'
import { expect, test } from 'vitest'
import type { Caller } from '../../src/caller/caller.ts'
import { LazyCaller } from '../../src/caller/lazy-caller.ts'
import { kindOf, READERS_MAX, readers } from '../../src/policy/readers.ts'

const caller = (uid: number, more: Partial<Caller> = {}): Caller => ({
  ...{ pid: 1, uid, gid: uid, groups: [], namespaces: [] },
  ...more,
})
const PATH = '/latest/meta-data/mac'

test('reads are counted by user, unit, container and kind of path', () => {
  let nowMs = 0
  const table = readers(() => nowMs)
  const read = (who: Caller, path: string, isSecret = false) => {
    nowMs += 1
    table.count(table.sighting(who, path, isSecret), 'allowed')
  }
  read(caller(1), PATH)
  read(caller(1), '/latest/meta-data/region-id')
  read(caller(1), '/latest/user-data', true)
  read(caller(1, { unit: 'a.service' }), PATH)
  read(caller(1, { container: 'c' }), PATH)
  read(caller(2), PATH)
  expect(
    table.rows().map(({ caller: { uid }, kind, counts }) => [uid, kind, counts.allowed]),
  ).toEqual([
    [2, 'metadata', 1],
    [1, 'metadata', 1],
    [1, 'metadata', 1],
    [1, 'user-data', 1],
    [1, 'metadata', 2],
  ])
})

test('a row says what was seen last, and by whom', () => {
  const table = readers(() => 7)
  const first = table.sighting(caller(1, { pid: 5 }), PATH, false)
  const second = table.sighting(caller(1, { pid: 6 }), '/latest/meta-data/image-id', false)
  table.count(second, 'allowed')
  table.count(first, 'refused')
  table.count(first, 'would-refuse')
  const [row] = table.rows().filter(({ counts }) => counts.refused > 0)
  expect(row).toMatchObject({ path: PATH, lastVerdict: 'would-refuse', lastAtMs: 7 })
  expect(row?.caller.pid).toBe(5)
})

test('two connections that look before either has read are one row', () => {
  const table = readers(() => 0)
  const [one, other] = [
    table.sighting(caller(1), PATH, false),
    table.sighting(caller(1), PATH, false),
  ]
  table.count(one, 'allowed')
  table.count(other, 'allowed')
  table.count(one, 'allowed')
  expect(table.rows().map(({ counts }) => counts.allowed)).toEqual([3])
})

test('the table is bounded, and the quietest row makes room; it comes back with its counts', () => {
  let nowMs = 0
  const table = readers(() => nowMs)
  const quiet = table.sighting(caller(0), PATH, false)
  table.count(quiet, 'allowed')
  for (let uid = 1; uid <= READERS_MAX; uid += 1) {
    nowMs += 1
    table.count(table.sighting(caller(uid), PATH, false), 'allowed')
  }
  expect(table.rows()).toHaveLength(READERS_MAX)
  expect(table.rows().some(({ caller: { uid } }) => uid === 0)).toBe(false)
  nowMs += 1
  table.count(quiet, 'allowed')
  expect(table.rows()).toHaveLength(READERS_MAX)
  expect(table.rows()[0]).toMatchObject({ counts: { allowed: 2 } })
})

test('whoever names containers at will drives out no row of another user', () => {
  let nowMs = 0
  const table = readers(() => nowMs)
  const read = (who: Caller) => {
    nowMs += 1
    table.count(table.sighting(who, '/latest/user-data', true), 'refused')
  }
  for (let uid = 1; uid <= 20; uid += 1) read(caller(uid))
  for (let made = 0; made < 2 * READERS_MAX; made += 1) {
    read(caller(1000, { container: `c${made}` }))
    read(caller(100_000 + made, { namespaces: ['user'] }))
  }
  const uids = table.rows().map(({ caller: { uid } }) => uid)
  expect(uids.filter((uid) => uid <= 20)).toHaveLength(20)
  // Nor from the page, which shows the hundred most recent rows.
  expect(uids.slice(0, 100).filter((uid) => uid <= 20)).toHaveLength(20)
})

test('of one user so many rows are kept and no more, and of root as many as there is room for', () => {
  const rowsOf = (uid: number) => {
    const table = readers(() => 0)
    for (let at = 0; at < 100; at += 1) {
      table.count(table.sighting(caller(uid, { unit: `${at}.service` }), PATH, false), 'allowed')
    }
    return table.rows().length
  }
  expect([rowsOf(1000), rowsOf(0)]).toEqual([64, 100])
})

test('the row that was quiet for longest makes room, and not the one that was made first', () => {
  let nowMs = 0
  const table = readers(() => nowMs)
  const read = (unit: string) => {
    nowMs += 1
    table.count(table.sighting(caller(1000, { unit }), PATH, false), 'allowed')
  }
  for (let at = 0; at < 64; at += 1) read(`${at}.service`)
  read('0.service')
  read('new.service')
  const units = table.rows().map(({ caller: { unit } }) => unit)
  expect(units.slice(0, 2)).toEqual(['new.service', '0.service'])
  expect(units).not.toContain('1.service')
})

test('rows have numbers, and one that nothing was read of yet says since when it is there', () => {
  const table = readers(() => 7)
  for (const uid of [1, 2]) table.sighting(caller(uid), PATH, false)
  const seen = { lastVerdict: 'allowed', lastAtMs: 7, counts: { allowed: 0 } }
  expect(table.rows()).toMatchObject([
    { id: 1, ...seen },
    { id: 2, ...seen },
  ])
})

test('a row says whether anybody has looked where its caller stands', () => {
  const pidfd = openPidfd(process.pid)
  if (pidfd === undefined) throw new Error('no pidfd')
  const lazy = new LazyCaller({ pid: process.pid, uid: 0, gid: 0 }, [], pidfd)
  const table = readers(() => 0)
  table.count(table.sighting(lazy, PATH, false), 'allowed')
  expect(table.rows()).toMatchObject([{ isPlaced: false }])
  void lazy.namespaces
  table.count(table.sighting(lazy, PATH, false), 'allowed')
  // Another row, though it may be in no unit: the first one's caller may have been anywhere.
  expect(table.rows()).toMatchObject([{ isPlaced: false }, { isPlaced: true }])
})

test('what it keeps of a caller is bounded, and is not the object of the connection', () => {
  const table = readers(() => 0)
  const who = caller(1, { groups: Array.from({ length: 65_536 }, (_, gid) => gid) })
  table.count(table.sighting(who, `/latest/${'x'.repeat(4000)}`, false), 'allowed')
  const [row] = table.rows()
  expect(row?.caller).not.toBe(who)
  expect(row?.caller.groups.length).toBeLessThanOrEqual(1024)
  expect(row?.path.length).toBeLessThanOrEqual(256)
})

test.each([
  ['/latest/meta-data/mac', false, 'metadata'],
  ['/latest/meta-data/ram/security-credentials/role', true, 'credentials'],
  ['/latest/meta-data/identity-credentials/ec2', true, 'credentials'],
  ['/latest/user-data', true, 'user-data'],
  ['/2016-01-01/vendor-data/x', true, 'user-data'],
  ['/latest/dynamic/instance-identity/pkcs7', true, 'identity'],
  ['/metabind/v1/identity', true, 'identity'],
])('%s is %s', (path, isSecret, kind) => {
  expect(kindOf(path, isSecret)).toBe(kind)
})
