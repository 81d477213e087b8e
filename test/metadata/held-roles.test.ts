import { expect, test } from 'vitest'
import { ec2 } from '../../src/dialect/ec2.ts'
import type { Entry } from '../../src/metadata/freshness.ts'
import { contradictedBy, roleListOf } from '../../src/metadata/held-roles.ts'
import { lifetimesBy } from '../../src/metadata/lifetimes.ts'

const LIST = '/latest/meta-data/iam/security-credentials'
const OTHER_LIST = '/latest/meta-data/identity-credentials/ec2/security-credentials'
const lifetimeOf = lifetimesBy(ec2.lifetimes)

/** What the source said: a text, or that there is no such path. */
function answer(text: string | undefined, isCredentials = false): Entry {
  const credentials = {
    times: { expiresAtMs: 0, lifeMs: 0 },
    seenAtMs: 0,
    refreshBeforeMs: 0,
    quietUntilMs: 0,
    isDoubted: false,
  }
  return {
    item: text === undefined ? undefined : { body: Buffer.from(text), contentType: 'text/plain' },
    lifetime: isCredentials ? 'credentials' : 'short',
    fetchedAtMs: 0,
    freshMs: 0,
    staleMs: 0,
    credentials: isCredentials ? credentials : undefined,
  }
}

const HELD = [
  [`${LIST}/app`, answer('{}', true)],
  [`/2021-03-23/${LIST.slice(8)}/app`, answer('{}', true)],
  [`${LIST}/other`, answer('{}', true)],
  [`${OTHER_LIST}/ec2-instance`, answer('{}', true)],
  // Held too, and none.
  [`${LIST}/absent`, answer(undefined)],
] as const

const gone = (path: string, text: string | undefined, isCredentials = false) =>
  contradictedBy(path, answer(text, isCredentials), lifetimeOf, () => HELD)

test('a list speaks against the roles that it does not name, under every version', () => {
  expect(gone(LIST, 'app\nother')).toEqual([])
  expect(gone(LIST, ' other \r\n')).toEqual([HELD[0][0], HELD[1][0]])
  expect(gone(LIST, 'app')).toEqual([HELD[2][0]])
})

test('a list that is no more speaks against all that it would name, and no other list', () => {
  expect(gone(LIST, undefined)).toEqual([HELD[0][0], HELD[1][0], HELD[2][0]])
  expect(gone(OTHER_LIST, undefined)).toEqual([HELD[3][0]])
  expect(gone(roleListOf(HELD[3][0]), 'ec2-instance')).toEqual([])
})

test('a role that is no more speaks against itself under every version, and no other role', () => {
  expect(gone(`${LIST}/app`, undefined)).toEqual([HELD[0][0], HELD[1][0]])
  expect(gone(`${LIST}/unknown`, undefined)).toEqual([])
})

test('credentials, and answers on other paths, speak against none, and nothing is looked through', () => {
  const held = () => {
    throw new Error('looked through')
  }
  for (const [path, entry] of [
    [`${LIST}/app`, answer('{}', true)],
    ['/latest/meta-data/instance-id', answer('i-1')],
    ['/latest/meta-data/no-such', answer(undefined)],
  ] as const) {
    expect(contradictedBy(path, entry, lifetimeOf, held)).toEqual([])
  }
})
