import { expect, test } from 'vitest'
import { MetabindError } from '../../src/errors.ts'
import { inCheck, VerifyError } from '../../src/verify/verify-error.ts'

const thrownBy = (error: unknown) => {
  try {
    inCheck('quote', () => {
      throw error
    })
  } catch (thrown) {
    return thrown
  }
  throw new Error('nothing was thrown')
}

test('what holds is handed on', () => {
  expect(inCheck('quote', () => 7)).toBe(7)
})

test('a refusal gets the name of its check, and keeps code, detail and cause', () => {
  const cause = new Error('why')
  const thrown = thrownBy(new MetabindError('VERIFY_NONCE', 'Found: another.', cause))
  expect(thrown).toBeInstanceOf(VerifyError)
  expect(thrown).toMatchObject({
    name: 'VerifyError',
    code: 'VERIFY_NONCE',
    check: 'quote',
    detail: 'Found: another.',
    cause,
  })
})

test('anything else is a fault of ours, and thrown as it is', () => {
  for (const error of [new MetabindError('TPM_FAULT'), new RangeError('VERIFY_NONCE'), 'VERIFY_']) {
    expect(thrownBy(error)).toBe(error)
  }
})
