import { describe, expect, test } from 'vitest'
import { type Asked, judge } from './judge.ts'
import { type HeldToken, truthOf } from './ledger.ts'

/** A judge who finds nothing would make every row of the table good. */

const ASKED: Asked = {
  what: 'read',
  path: '/latest/meta-data/instance-id',
  token: 'good',
  permitted: true,
  there: true,
  values: new Set(['i-one', 'i-before']),
}
const refusal = (status: number, body: string) => ({ status, body })
const EXPIRED = refusal(401, 'TOKEN_EXPIRED: The session token has expired.')
const INVALID = refusal(401, 'TOKEN_INVALID: The session token is not valid.')
const DENIED = refusal(403, 'POLICY_DENIED: The policy does not let this caller read this path.')
const ABSENT = refusal(404, 'METADATA_ABSENT: There is no such metadata.')
const DOWN = refusal(503, 'SOURCE_DOWN: The metadata service of the cloud does not answer.')

describe('right is', () => {
  test.each([
    ['what the source has', {}, refusal(200, 'i-one')],
    ['what it had', {}, refusal(200, 'i-before')],
    ['that a token is over', { token: 'over' as const }, EXPIRED],
    ['that the policy forbids it', { permitted: false }, DENIED],
    ['that nothing is there', { there: false }, ABSENT],
    ['a token', { what: 'token' as const, token: undefined }, refusal(200, 'a'.repeat(86))],
  ])('%s', (_what, asked, answer) => {
    expect(judge({ ...ASKED, ...asked }, answer)).toEqual({ as: 'right' })
  })

  test('not a refusal for the trouble of the agent, which is none that is wrong', () => {
    expect(judge(ASKED, DOWN)).toEqual({ as: 'SOURCE_DOWN' })
    expect(judge({ ...ASKED, token: 'over' }, DOWN)).toEqual({ as: 'SOURCE_DOWN' })
  })
})

describe('wrong is', () => {
  test.each([
    ['what the source never had', {}, refusal(200, 'i-other'), /not what the source has/],
    [
      'anything for a token that is over',
      { token: 'over' as const },
      refusal(200, 'i-one'),
      /over/,
    ],
    ['anything without a token', { token: undefined }, refusal(200, 'i-one'), /without a token/],
    [
      'anything for the token of another',
      { what: 'foreign' as const },
      refusal(200, 'i-one'),
      /user/,
    ],
    ['what the policy forbids', { permitted: false }, refusal(200, 'i-one'), /policy/],
    ['that a good token is over', {}, EXPIRED, /TOKEN_EXPIRED .* good/],
    ['that a good token is none', {}, INVALID, /TOKEN_INVALID .* good/],
    ['that the policy forbids what it allows', {}, DENIED, /POLICY_DENIED/],
    ['that nothing is where something is', {}, ABSENT, /METADATA_ABSENT/],
    ['a code with another status', {}, refusal(500, DOWN.body), /came with 500/],
    ['a code with another sentence', {}, refusal(503, 'SOURCE_DOWN: Oh.'), /"Oh."/],
    ['no code', {}, refusal(500, '{"error":"Internal Server Error"}'), /without a code/],
    ['no token where one was made', { what: 'token' as const }, refusal(200, ''), /no token/],
  ])('%s', (_what, asked, answer, wrong) => {
    expect(judge({ ...ASKED, ...asked }, answer).wrong).toMatch(wrong)
  })
})

test('a token is judged by when it was used: only around its end may it be either', () => {
  const token: HeldToken = {
    ...{ uid: 1, text: '', endsAfterMs: 100, endsBeforeMs: 120 },
    ...{ revokedFromMs: Number.POSITIVE_INFINITY, revokedByMs: Number.POSITIVE_INFINITY },
  }
  expect(truthOf(token, 10, 99)).toBe('good')
  expect(truthOf(token, 90, 110)).toBe('either')
  expect(truthOf(token, 110, 125)).toBe('either')
  expect(truthOf(token, 121, 130)).toBe('over')
  const revoked = { ...token, revokedFromMs: 50, revokedByMs: 60 }
  expect(truthOf(revoked, 10, 49)).toBe('good')
  expect(truthOf(revoked, 10, 55)).toBe('either')
  expect(truthOf(revoked, 61, 70)).toBe('over')
})
