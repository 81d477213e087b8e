import { expect, test } from 'vitest'
import type { Caller } from '../../src/caller/caller.ts'
import { isPlaced, knownOf, shownCaller } from '../../src/caller/shown.ts'

const CALLER: Caller = {
  pid: 7,
  uid: 1001,
  gid: 1002,
  groups: [],
  unit: 'app.service',
  slice: 'system.slice',
  container: 'web',
  namespaces: ['user'],
  executable: '/usr/bin/app',
}
const groups = (count: number) => Array.from({ length: count }, (_, at) => 5000 + at)

test('a caller is shown with all that is known of it', () => {
  expect(shownCaller(CALLER)).toStrictEqual(CALLER)
  expect(isPlaced(CALLER)).toBe(true)
  expect(knownOf(CALLER)).toStrictEqual(CALLER)
})

test('of many groups sixteen are shown, and how many there are', () => {
  const few = { ...CALLER, groups: groups(16) }
  expect(shownCaller(few)).toStrictEqual(few)
  expect(shownCaller({ ...CALLER, groups: groups(17) })).toStrictEqual({
    ...CALLER,
    groups: groups(16),
    groupCount: 17,
  })
})
