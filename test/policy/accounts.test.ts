import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { lookUpAccounts } from '../../src/policy/accounts.ts'

// What a directory service would say, by way of getent(1).
const GETENT = `#!/bin/sh
[ "$1" = -- ] || exit 1
case "$2 $3" in
  'passwd ann') echo 'ann:x:70001:70000:Ann:/home/ann:/bin/sh' ;;
  'group staff-ldap') echo 'staff-ldap:*:70000:ann' ;;
  'passwd broken') echo 'broken' ;;
  'passwd minus') echo 'minus:x:-1:' ;;
  'passwd hex') echo 'hex:x:0x10:' ;;
  'passwd word') echo 'word:x:7seven:' ;;
  'passwd long') echo 'long:x:12345678901:' ;;
  'passwd digits') echo 'digits:x:1234567890:' ;;
  'passwd daemon') echo 'daemon:x:70003:' ;;
  'group domain users') echo 'domain users:*:70002:' ;;
  'passwd together-'*)
    touch "$0.$3"
    until [ "$(ls "$0".together-* | wc -l)" = 10 ]; do sleep 0.02; done
    echo "$3:x:71000:" ;;
  'passwd slow'* | 'group slow') exec sleep 600 ;;
  *) exit 2 ;;
esac
`

const { PATH } = process.env
let dir: string

beforeEach(async () => {
  dir = await mkdtemp('/tmp/accounts-')
  await writeFile(join(dir, 'getent'), GETENT)
  await chmod(join(dir, 'getent'), 0o755)
  process.env.PATH = `${dir}:${PATH}`
})

afterEach(async () => {
  process.env.PATH = PATH
  await rm(dir, { recursive: true })
})

test('local accounts, those of a directory service, and none', async () => {
  const found = await lookUpAccounts({
    users: ['root', 'daemon', 'ann', 'no-such', 'broken', 'staff-ldap'],
    groups: ['root', 'staff-ldap', 'ann'],
  })
  expect(found.users.get('root')).toBe(0)
  expect(found.users.get('daemon')).toBe(1)
  expect(found.users.get('ann')).toBe(70_001)
  expect(found.groups.get('root')).toBe(0)
  expect(found.groups.get('staff-ldap')).toBe(70_000)
  for (const name of ['no-such', 'broken', 'staff-ldap']) expect(found.users.has(name)).toBe(false)
  expect(found.groups.has('ann')).toBe(false)
})

test('what is no number is none, and what the file says is not asked for', async () => {
  const names = ['minus', 'hex', 'word', 'long', 'digits', 'daemon']
  const { users } = await lookUpAccounts({ users: names, groups: [] })
  expect(names.map((name) => users.get(name))).toEqual([
    ...[undefined, undefined, undefined, undefined, 1_234_567_890, 1],
  ])
})

test('a name with spaces is one name', async () => {
  const { groups } = await lookUpAccounts({ users: [], groups: ['domain users'] })
  expect(groups.get('domain users')).toBe(70_002)
})

test('names are looked up at once, and what is not found in time is left out', async () => {
  // Each waits until all of the others are asked as well, or for ever: one after the other none is found.
  const together = Array.from({ length: 10 }, (_, at) => `together-${at}`)
  const users = ['root', 'slow', ...together]
  const found = await lookUpAccounts({ users, groups: ['slow'] })
  expect([...found.users.keys()]).toEqual(expect.arrayContaining(['root', ...together]))
  expect(found.users.has('slow')).toBe(false)
  expect(found.groups.has('slow')).toBe(false)
})

test('the time is for all names together', async () => {
  const users = Array.from({ length: 200 }, (_, at) => `slow-${at}`)
  const found = await lookUpAccounts({ users, groups: [] })
  expect(found.users.get('root')).toBe(0)
  // 200 of them one after the other, or sixteen at a time, for a time of their own: beyond this test's.
  expect(users.some((name) => found.users.has(name))).toBe(false)
})
