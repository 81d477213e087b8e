import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { certificatesIn } from '../../src/certificates/certificate.ts'
import { ALIYUN_EK_ANCHORS, ALIYUN_EKMF_CERTIFICATE } from '../../src/verify/aliyun.ts'
import { parseTrust } from '../../src/verify/trust.ts'
import { TRUST_SETS } from '../../src/verify/trust-sets.ts'
import { makeAuthority, makeCertificate, newKey, spkiOf } from '../harness/certificate.ts'
import { detailOf } from '../harness/verify-case.ts'

/** What a verifier trusts, as it is given. */

const AUTHORITY = makeAuthority('An authority')
const DIGEST = createHash('sha256').update(AUTHORITY.der).digest('hex')

describe('fingerprints', () => {
  const pairs = DIGEST.toUpperCase().match(/../g) ?? []
  test.each([
    ['in small letters', DIGEST],
    ['in capitals', DIGEST.toUpperCase()],
    ['with colons, as openssl prints them', pairs.join(':')],
  ])('%s', (_what, text) => {
    expect([...parseTrust({ ekAnchorFingerprints: [text] }).ek.fingerprints]).toEqual([DIGEST])
    expect([...parseTrust({ ekPins: [text] }).ekPins]).toEqual([DIGEST])
  })

  test.each([
    ['nothing', ''],
    ['text', 'text'],
    ['one digit less', DIGEST.slice(1)],
    ['one digit more', `${DIGEST}0`],
    ['text before it', `sha256${DIGEST}`],
    ['spaces', pairs.join(' ')],
  ])('never: %s', (_what, text) => {
    expect(detailOf(() => parseTrust({ ekPins: [text] }))).toBe('VERIFY_ANCHOR No SHA-256 in hex.')
  })
})

describe('files', () => {
  test('of anchors are for the keys that they are given for', () => {
    const { ek, ak } = parseTrust({ ekAnchors: [AUTHORITY.der] })
    expect([[...ek.fingerprints], [...ak.fingerprints]]).toEqual([[DIGEST], []])
    expect([...parseTrust({ akAnchors: [AUTHORITY.der] }).ak.fingerprints]).toEqual([DIGEST])
    expect(parseTrust({ intermediates: [AUTHORITY.der] }).ek.fingerprints.size).toBe(0)
  })

  test('without a certificate, or with a broken one, are refused', () => {
    const empty = { ekAnchors: [Buffer.from('nothing')] }
    expect(detailOf(() => parseTrust(empty))).toBe('VERIFY_ANCHOR A file holds no certificate.')
    const broken = { ekAnchors: [AUTHORITY.der.subarray(0, 40)] }
    expect(detailOf(() => parseTrust(broken))).toBe(
      'VERIFY_ANCHOR A file is not what it should be.',
    )
  })

  test('of an identity certificate whose key is off its curve are refused', () => {
    const publicKey = Buffer.from(spkiOf(newKey()))
    publicKey.writeUInt8(publicKey.readUInt8(publicKey.length - 1) ^ 1, publicKey.length - 1)
    const { name, key } = AUTHORITY
    const identityCertificate = makeCertificate({
      subject: 'Cloud',
      issuer: name,
      publicKey,
      signer: key,
    })
    expect(detailOf(() => parseTrust({ identityCertificate }))).toBe(
      'VERIFY_ANCHOR Its public key is unusable.',
    )
  })

  test('without a revocation list are refused', () => {
    const crls = [Buffer.from('nothing')]
    expect(detailOf(() => parseTrust({ crls }))).toBe('VERIFY_CRL_FILE A file holds no list.')
  })
})

test('what is parsed is not parsed again', () => {
  const parsed = parseTrust({})
  expect(parseTrust(parsed)).toBe(parsed)
})

test('the set of Alibaba Cloud has its anchors, and the authority between them and EKs', () => {
  const { ek, ak } = parseTrust(TRUST_SETS.aliyun)
  const anchors = ALIYUN_EK_ANCHORS.map((text) => text.replaceAll(':', '').toLowerCase())
  expect([...ek.fingerprints]).toEqual(anchors)
  expect(ak.fingerprints.size).toBe(0)
  const [between] = certificatesIn(Buffer.from(ALIYUN_EKMF_CERTIFICATE))
  expect([...ek.pool.values()].flat().map(({ fingerprint }) => fingerprint)).toEqual([
    between?.fingerprint,
  ])
})
