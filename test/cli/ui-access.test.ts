import { expect, test } from 'vitest'
import { type PageKeys, pageAccess } from '../../src/cli/ui-access.ts'

const LINK_SECONDS = 600

function opened(nowMs = 0) {
  const access = pageAccess(LINK_SECONDS, () => nowMs)
  const keys = access.redeem(access.linkToken, undefined)
  if (typeof keys === 'string') throw new Error(keys)
  return { access, keys }
}

test('the link gives two keys, and both are needed', () => {
  const { access, keys } = opened()
  const other: PageKeys = opened().keys
  expect(access.admits(keys.cookie, keys.key)).toBe(true)
  for (const [cookie, key] of [
    [keys.cookie, undefined],
    [undefined, keys.key],
    [keys.key, keys.cookie],
    [keys.cookie, other.key],
    [other.cookie, keys.key],
    [keys.cookie, ''],
    [access.linkToken, access.linkToken],
  ]) {
    expect(access.admits(cookie, key)).toBe(false)
  }
})

test('nobody is admitted before it was opened', () => {
  const access = pageAccess(LINK_SECONDS, () => 0)
  expect(access.admits(undefined, undefined)).toBe(false)
  expect(access.admits('', '')).toBe(false)
})

test('another token is none, and takes nothing away', () => {
  const access = pageAccess(LINK_SECONDS, () => 0)
  const { linkToken } = access
  for (const wrong of ['', linkToken.slice(1), `${linkToken}x`, linkToken.toUpperCase()]) {
    expect(access.redeem(wrong, undefined)).toBe('wrong')
  }
  expect(access.redeem(linkToken, undefined)).toHaveProperty('cookie')
})

test('it ends unused, to the moment', () => {
  let nowMs = 0
  const access = pageAccess(LINK_SECONDS, () => nowMs)
  nowMs = LINK_SECONDS * 1000 - 1
  expect(access.hasExpired()).toBe(false)
  nowMs += 1
  expect(access.hasExpired()).toBe(true)
  expect(access.redeem(access.linkToken, undefined)).toBe('expired')
})

test('used in time, it does not end the page', () => {
  let nowMs = 0
  const access = pageAccess(LINK_SECONDS, () => nowMs)
  const keys = access.redeem(access.linkToken, undefined)
  nowMs = LINK_SECONDS * 2000
  expect(access.hasExpired()).toBe(false)
  if (typeof keys === 'string') throw new Error(keys)
  expect(access.admits(keys.cookie, keys.key)).toBe(true)
})

test('who opens it again is told so, and keeps the page', () => {
  const { access, keys } = opened()
  expect(access.redeem(access.linkToken, keys.cookie)).toBe('used')
  expect(access.admits(keys.cookie, keys.key)).toBe(true)
})

test('if another opens it again one of the two is a thief, and neither has the page any longer', () => {
  for (const cookie of [undefined, '', opened().keys.cookie]) {
    const { access, keys } = opened()
    expect(access.redeem(access.linkToken, cookie)).toBe('twice')
    expect(access.admits(keys.cookie, keys.key)).toBe(false)
    expect(access.redeem(access.linkToken, keys.cookie)).toBe('twice')
  }
})

test('each link and each key is another, of 256 bits', () => {
  const all = [opened(), opened()].flatMap(({ access, keys }) => [
    ...[access.linkToken, keys.cookie, keys.key],
  ])
  expect(new Set(all).size).toBe(6)
  for (const one of all) expect(Buffer.from(one, 'base64url')).toHaveLength(32)
})
