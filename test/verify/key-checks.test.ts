import { describe, expect, test } from 'vitest'
import { isAkCertified } from '../../src/verify/endorsement.ts'
import { unverifiedSubject, type VerifyOptions } from '../../src/verify/verify.ts'
import { forge } from '../harness/attacker.ts'
import {
  AK_EXTENSIONS,
  makeAuthority,
  makeCertificate,
  makeEkCertificate,
  newKey,
  spkiOf,
} from '../harness/certificate.ts'
import { detailOf, genuineCaseOfFile, INSTANCE_ID, refusals } from '../harness/verify-case.ts'

/** What certificates say of the instance, and of the AK. */

const it = await genuineCaseOfFile()
const CLOUD = makeAuthority('AK Authority')

describe('the instance id in the subject of an EK certificate', () => {
  const named = (name: string) => {
    const certificates = [makeEkCertificate(it.authority, it.ekSpki, { subject: name })]
    return { ...it.evidence, ek: { ...it.evidence.ek, certificates } }
  }
  const refusedBy = (name: string, ekInstance?: VerifyOptions['ekInstance']) =>
    refusals(named(name), { ...it.options, ekInstance }).map(({ code }) => code)
  const OTHER = 'i-00000000000000000000'
  const REFUSED = ['VERIFY_EK_INSTANCE']

  test.each([
    ['this one', INSTANCE_ID, [], []],
    ['another one', OTHER, REFUSED, REFUSED],
    ['a name that is no instance id', 'TPM of a maker', [], REFUSED],
    ['no name', '', [], REFUSED],
    ['an id in a longer name', `of ${OTHER}`, [], REFUSED],
  ])('%s', (_what, name, preferred, required) => {
    expect(refusedBy(name)).toEqual(preferred)
    expect(refusedBy(name, 'prefer')).toEqual(preferred)
    expect(refusedBy(name, 'require')).toEqual(required)
    expect(refusedBy(name, 'ignore')).toEqual([])
  })
})

describe('an AK is certified', () => {
  const key = newKey()
  const forged = forge(it.evidence, { key })
  const certificateOf = (publicKey: Buffer) =>
    makeCertificate({
      subject: 'AK',
      issuer: CLOUD.name,
      publicKey,
      signer: CLOUD.key,
      extensions: AK_EXTENSIONS,
    })
  const certified = (certificates: readonly Buffer[], trust: VerifyOptions['trust']) => {
    const evidence = { ...forged, ak: { ...forged.ak, certificates } }
    return isAkCertified(unverifiedSubject(evidence, { ...it.options, trust }))
  }
  const both = { ...it.options.trust, akAnchors: [CLOUD.der] }
  const own = certificateOf(spkiOf(key))

  test('by a certificate that leads to akAnchors, beside an EK that is vouched for or not', () => {
    expect(certified([own], both)).toBe(true)
    expect(certified([own], { akAnchors: [CLOUD.der] })).toBe(true)
  })

  test('and not without a certificate, nor where nobody asked for one', () => {
    expect(certified([], both)).toBe(false)
    expect(certified([own], it.options.trust)).toBe(false)
    expect(certified([Buffer.from(certificateOf(spkiOf(newKey())))], it.options.trust)).toBe(false)
  })

  test('nor by the certificate of another key, which is refused', () => {
    const other = certificateOf(spkiOf(newKey()))
    expect(detailOf(() => certified([other], both))).toBe(
      'VERIFY_AK_PUBLIC Of its certificate: VERIFY_CERTIFICATE_KEY.',
    )
  })
})
