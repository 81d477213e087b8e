import { describe, expect, test } from 'vitest'
import { parsePublic, type TpmPublic } from '../../src/format/tpm-public.ts'
import { makeCredential } from '../../src/verify/make-credential.ts'
import { keyOfType } from '../harness/key-of-type.ts'
import { detailOf, genuineCaseOfFile } from '../harness/verify-case.ts'

/** Endorsement keys that nothing can be encrypted to. That a TPM opens what is made is in activation.test.ts. */

const it = await genuineCaseOfFile()
const EK = parsePublic(it.evidence.ek.public)
const RK = parsePublic(it.evidence.certifications.RK.public)
const AK = parsePublic(it.evidence.ak.public)
const NAME = Buffer.alloc(34, 1)
const SECRET = Buffer.alloc(32, 2)
const found = (ek: TpmPublic) => detailOf(() => makeCredential(ek, NAME, SECRET))

const REFUSED = 'VERIFY_STRUCTURE TPMT_PUBLIC: cannot encrypt to it:'
const withSymmetric = (algorithm: number, keyBits: number): TpmPublic => {
  return { ...keyOfType(EK, 'ecc'), symmetric: { algorithm, keyBits, mode: 0x43 } }
}

test('what is made for an EK has a new seed each time', () => {
  const [one, two] = [makeCredential(EK, NAME, SECRET), makeCredential(EK, NAME, SECRET)]
  expect(one.encryptedSecret.equals(two.encryptedSecret)).toBe(false)
  expect(one.credentialBlob.length).toBe(two.credentialBlob.length)
})

describe('refused', () => {
  test('a hash that nobody knows', () => {
    expect(found({ ...EK, nameAlg: 0x0099 })).toBe(`${REFUSED} its hash.`)
  })

  test.each<readonly [string, TpmPublic]>([
    ['a keyed hash, which has none', RK],
    ['a key that signs, which has none', AK],
    ['AES with 192 bits', withSymmetric(0x0006, 192)],
    ['no bits', withSymmetric(0x0006, 0)],
    ['Camellia with 128 bits', withSymmetric(0x0026, 128)],
  ])('a cipher: %s', (_what, ek) => {
    expect(found(ek)).toBe(`${REFUSED} its cipher.`)
  })

  test('a curve that nobody knows', () => {
    const symmetric = { algorithm: 0x0006, keyBits: 128, mode: 0x43 }
    expect(found({ ...keyOfType(AK, 'ecc'), symmetric, curve: 0x0020 })).toBe(
      `${REFUSED} its curve.`,
    )
  })

  test('a point off the curve, before a secret is shared with it', () => {
    const symmetric = { algorithm: 0x0006, keyBits: 128, mode: 0x43 }
    const ek = { ...keyOfType(AK, 'ecc'), symmetric, y: Buffer.alloc(32, 1) }
    expect(found(ek)).toBe('VERIFY_STRUCTURE TPMT_PUBLIC: not a point of its curve.')
  })
})
