import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { lookUpAccounts } from '../../src/relay/accounts.ts'

// What a directory service would say, by way of getent(1).
const GETENT = `#!/bin/sh
[ "$1" = -- ] || exit 1
case "$2 $3" in
  'passwd ann') echo 'ann:x:70001:70000:Ann:/home/ann:/bin/sh' ;;
  'group staff-ldap') echo 'staff-ldap:*:70000:ann' ;;
  'passwd broken') echo 'broken' ;;
  'passwd slow') exec sleep 60 ;;
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
  expect(found).toEqual({
    users: new Map([
      ['root', 0],
      ['daemon', 1],
      ['ann', 70_001],
    ]),
    groups: new Map([
      ['root', 0],
      ['staff-ldap', 70_000],
    ]),
  })
})

test('a directory service that does not answer is not waited for', async () => {
  const start = performance.now()
  const found = await lookUpAccounts({ users: ['slow', 'root'], groups: [] })
  expect(found.users).toEqual(new Map([['root', 0]]))
  expect(performance.now() - start).toBeLessThan(15_000)
})
