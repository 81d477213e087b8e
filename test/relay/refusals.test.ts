import { expect, test } from 'vitest'
import { ERRORS } from '../../src/error-table.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { REFUSAL_EVENTS } from '../../src/relay/refusals.ts'

const CODES = Object.keys(ERRORS) as ErrorCode[]
const recorded = (family: string) =>
  CODES.filter((code) => code.startsWith(family) && REFUSAL_EVENTS[code] !== undefined)

test.each(['TOKEN_', 'LIMIT_'])('every refusal of the family %s is recorded', (family) => {
  expect(recorded(family)).toEqual(CODES.filter((code) => code.startsWith(family)))
})

test('a foreign token has an event of its own', () => {
  expect(CODES.filter((code) => REFUSAL_EVENTS[code] === 'token.foreign')).toEqual([
    'TOKEN_FOREIGN',
  ])
})

test('of requests those are recorded that somebody else may have sent in the caller’s name', () => {
  expect(CODES.filter((code) => REFUSAL_EVENTS[code] === 'request.refused').toSorted()).toEqual([
    'CALLER_UNKNOWN',
    'REQUEST_BROWSER',
    'REQUEST_FORWARDED',
  ])
})
