import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { enrolmentNonces, NONCE_LIFE_MS, SKEW_MS } from '../../src/registrar/enrolment-nonce.ts'
import { masterKey } from '../../src/registrar-keys/master-key.ts'
import { Secret } from '../../src/secret.ts'
import { NOW_MS } from './enrolled.ts'

const newMaster = () => masterKey(new Secret(randomBytes(32)))
const master = newMaster()
const nonces = enrolmentNonces(master)
const refused = expect.objectContaining({ code: 'ENROL_NONCE' })

test('a replica knows the nonces of another, each is another, and says when it was made', () => {
  const made = [nonces.make(NOW_MS), nonces.make(NOW_MS)]
  expect(made[0]).not.toEqual(made[1])
  for (const nonce of made) {
    expect(enrolmentNonces(master).issuedAtMs(nonce, NOW_MS + NONCE_LIFE_MS)).toBe(NOW_MS)
  }
})

test('one that is too old, altered in any bit, or of another registrar is refused', () => {
  const nonce = nonces.make(NOW_MS)
  expect(() => nonces.issuedAtMs(nonce, NOW_MS + NONCE_LIFE_MS + 1)).toThrow(refused)
  for (let bit = 0; bit < nonce.length * 8; bit += 1) {
    const altered = Buffer.from(nonce)
    altered[bit >> 3] = (altered[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    expect(() => nonces.issuedAtMs(altered, NOW_MS)).toThrow(refused)
  }
  expect(() => nonces.issuedAtMs(nonce.subarray(1), NOW_MS)).toThrow(refused)
  expect(() => enrolmentNonces(newMaster()).issuedAtMs(nonce, NOW_MS)).toThrow(refused)
})

test('one of the future, as when the clock was set back since, is refused', () => {
  const skewed = nonces.make(NOW_MS + SKEW_MS)
  expect(nonces.issuedAtMs(skewed, NOW_MS)).toBe(NOW_MS + SKEW_MS)
  expect(() => nonces.issuedAtMs(nonces.make(NOW_MS + SKEW_MS + 1), NOW_MS)).toThrow(refused)
})

test('what is sealed opens under the same key, for the same use, and unaltered', () => {
  const sealed = master.seal('challenge', Buffer.from('kept'))
  expect(master.open('challenge', sealed).toString()).toBe('kept')
  expect(sealed.includes('kept')).toBe(false)
  const altered = Buffer.from(sealed)
  altered[20] = (altered[20] ?? 0) ^ 1
  const fault = expect.objectContaining({ code: 'REGISTRAR_DATABASE' })
  expect(() => master.open('key', sealed)).toThrow(fault)
  expect(() => master.open('challenge', altered)).toThrow(fault)
  expect(() => master.open('challenge', sealed.subarray(0, 10))).toThrow(fault)
  expect(() => newMaster().open('challenge', sealed)).toThrow(fault)
})
