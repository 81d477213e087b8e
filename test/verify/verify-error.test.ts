import { expect, test } from 'vitest'
import { MetabindError } from '../../src/errors.ts'
import { inCheck, VerifyError } from '../../src/verify/verify-error.ts'
import { thrownBy } from '../harness/verify-case.ts'

const thrown = (error: unknown) =>
  thrownBy(() =>
    inCheck('quote', () => {
      throw error
    }),
  )

test('what holds is handed on', () => {
  expect(inCheck('quote', () => 7)).toBe(7)
})

test('a refusal gets the name of its check, and keeps code, detail and cause', () => {
  const cause = new Error('why')
  const refusal = thrown(new MetabindError('VERIFY_NONCE', 'Found: another.', cause))
  expect(refusal).toBeInstanceOf(VerifyError)
  expect(refusal).toMatchObject({
    name: 'VerifyError',
    code: 'VERIFY_NONCE',
    check: 'quote',
    detail: 'Found: another.',
    cause,
  })
})

test('anything else is a fault of ours, and thrown as it is', () => {
  for (const error of [new MetabindError('TPM_FAULT'), new RangeError('VERIFY_NONCE'), 'VERIFY_']) {
    expect(thrown(error)).toBe(error)
  }
})
