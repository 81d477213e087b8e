import { describe, expect, test } from 'vitest'
import { wrapDocument } from '../../src/format/cmw.ts'
import { anchorNeeds, joinTrust, TRUST_SETS, verifyEvidence } from '../../src/verify/index.ts'
import { unwrapEvidence } from '../../src/verify/unwrap-evidence.ts'
import {
  CA_EXTENSIONS,
  EK_EXTENSIONS,
  ext,
  type Issuer,
  makeAuthorities,
  makeAuthority,
  makeEkCertificate,
  newKey,
  spkiOf,
} from '../harness/certificate.ts'
import { AUTHORITY_EXTENSIONS, LEAF_EXTENSIONS, opensslPki } from '../harness/openssl-pki.ts'
import { bytesOf, genuineCaseOfFile, INSTANCE_ID, refusalOf } from '../harness/verify-case.ts'

/** What a certificate needs to be believed, and sets of whom to trust. */

const it = await genuineCaseOfFile()
const KEY = spkiOf(newKey())

function pemOf(der: Buffer): Buffer {
  const lines = der.toString('base64').replace(/.{64}/g, '$&\n')
  return Buffer.from(`-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`)
}
const fileOf = (...ders: readonly Buffer[]) => Buffer.concat(ders.map(pemOf))
const subjectsOf = (file: Buffer, sets: Parameters<typeof anchorNeeds>[1] = {}) =>
  anchorNeeds(file, sets)[0]?.certificates.map(({ subject }) => subject)

describe('of certificates that openssl made', () => {
  const pki = opensslPki()
  const root = pki.certificate({
    subject: '/C=DE/O=Maker/CN=Root',
    extensions: AUTHORITY_EXTENSIONS,
  })
  const between = pki.certificate({
    subject: '/C=DE/O=Maker/CN=Between',
    extensions: AUTHORITY_EXTENSIONS,
    under: root,
  })
  const leaf = pki.certificate({
    subject: '/CN=TPM',
    extensions: [
      ...LEAF_EXTENSIONS,
      'authorityInfoAccess = OCSP;URI:http://a.example/ocsp,caIssuers;URI:http://a.example/between',
      'crlDistributionPoints = URI:http://a.example/list',
    ],
    under: between,
  })

  test('the issuer that is missing, and where its certificate may be', () => {
    const id = expect.stringMatching(/^[0-9a-f]{40}$/)
    const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/)
    expect(anchorNeeds(leaf.der, TRUST_SETS)).toEqual([
      {
        of: 'certificate',
        isAnchored: false,
        missing: 'issuer',
        certificates: [
          {
            fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/),
            subject: 'CN=TPM',
            issuer: 'C=DE, O=Maker, CN=Between',
            keyId: id,
            issuerKeyId: id,
            notBefore: time,
            notAfter: time,
            issuerUrls: ['http://a.example/between'],
            crlUrls: ['http://a.example/list'],
            foundIn: ['file'],
            anchorOf: [],
          },
        ],
      },
    ])
  })

  test('which set has what, up to its anchor', () => {
    const maker = { ekAnchors: [root.der], intermediates: [between.der] }
    const [needs] = anchorNeeds(leaf.der, { ...TRUST_SETS, maker })
    expect(needs).toMatchObject({ isAnchored: true, missing: undefined })
    const found = needs?.certificates.map(({ foundIn, anchorOf }) => [foundIn, anchorOf])
    expect(found).toEqual([
      [['file'], []],
      [['maker'], []],
      [['maker'], ['maker']],
    ])
    const [first, second, third] = needs?.certificates ?? []
    expect([first?.issuerKeyId, second?.issuerKeyId]).toEqual([second?.keyId, third?.keyId])
  })

  test('a root that nobody trusts is missing as an anchor', () => {
    const [needs] = anchorNeeds(fileOf(leaf.der, between.der, root.der), {})
    expect(needs).toMatchObject({ isAnchored: false, missing: 'anchor' })
    expect(needs?.certificates).toHaveLength(3)
  })
})

describe('chains', () => {
  test('one that stands for itself and another, in a ring, ends', () => {
    const [one, other] = [makeAuthority('One'), makeAuthority('Other')]
    const crossed = makeAuthority('One', { issuer: 'Other', signer: other.key }, undefined, one.key)
    const back = makeAuthority('Other', { issuer: 'One', signer: one.key }, undefined, other.key)
    const file = fileOf(makeEkCertificate(one, KEY), crossed.der, back.der)
    expect(anchorNeeds(file, {})[0]).toMatchObject({ isAnchored: false, missing: 'issuer' })
    expect(subjectsOf(file)).toEqual(['', 'CN=One', 'CN=Other'])
  })

  test('are as long as paths may be', () => {
    const made = makeAuthorities(7)
    const [root] = made
    const ders = made.map(({ der }) => der).reverse()
    const file = (from: number) => fileOf(...ders.slice(from))
    const leafFile = fileOf(makeEkCertificate(made.at(-1) ?? root, KEY), ...ders)
    const own = { ekAnchors: [root.der] }
    expect(anchorNeeds(file(0), { own })[0]).toMatchObject({ isAnchored: true })
    expect(subjectsOf(file(0), { own })).toHaveLength(7)
    expect(anchorNeeds(leafFile, { own })[0]).toMatchObject({
      isAnchored: false,
      missing: 'issuer',
    })
    expect(subjectsOf(leafFile, { own })).toHaveLength(7)
  })

  test('end at the first anchor', () => {
    const root = makeAuthority('Root')
    const between = makeAuthority('Between', {}, root)
    const file = fileOf(makeEkCertificate(between, KEY), between.der, root.der)
    expect(subjectsOf(file, { own: { ekAnchors: [between.der] } })).toEqual(['', 'CN=Between'])
  })

  const id = (byte: number) => Buffer.alloc(20, byte)
  const maker = makeAuthority('Maker')
  const named = (byte: number): Issuer => {
    const extensions = [...CA_EXTENSIONS, ext.subjectKeyIdentifier(id(byte))]
    return makeAuthority('Same', { extensions }, maker)
  }

  test('go to the key that is named, of two of one name', () => {
    const [one, other] = [named(1), named(2)]
    const leaf = makeEkCertificate(other, KEY, {
      extensions: [
        ...EK_EXTENSIONS.filter(({ oid }) => oid !== '2.5.29.35'),
        ext.authorityKeyIdentifier(id(2)),
      ],
    })
    const [needs] = anchorNeeds(fileOf(leaf, one.der, other.der), { own: { ekAnchors: [one.der] } })
    expect(needs?.certificates.map(({ keyId, foundIn }) => [keyId, foundIn])).toEqual([
      [undefined, ['file']],
      ['02'.repeat(20), ['file']],
    ])
    expect(needs).toMatchObject({ isAnchored: false, missing: 'issuer' })
  })
})

describe('files', () => {
  const certificate = makeEkCertificate(makeAuthority('Another'), it.ekSpki)
  const { evidence, authority } = it
  const both = bytesOf({ ...evidence, ak: { ...evidence.ak, certificates: [certificate] } })
  const anchored = (file: Uint8Array, sets: Parameters<typeof anchorNeeds>[1]) =>
    anchorNeeds(file, sets).map(({ of, isAnchored }) => [of, isAnchored])

  test('of evidence: each of EK and AK has anchors of its own', () => {
    const own = { ekAnchors: [authority.der] }
    const ofAk = { akAnchors: [certificate] }
    expect(anchored(both, { own })).toEqual([
      ['EK', true],
      ['AK', false],
    ])
    expect(anchored(both, { own, ofAk })).toEqual([
      ['EK', true],
      ['AK', true],
    ])
    expect(anchored(both, { akAnchors: { akAnchors: [authority.der] } })).toEqual([
      ['EK', false],
      ['AK', false],
    ])
    expect(anchored(bytesOf(evidence), { own })).toEqual([['EK', true]])
  })

  test('of neither have no chain', () => {
    expect(anchorNeeds(Buffer.from('nothing'), {})).toEqual([])
  })

  test('that are broken are refused by what they are', () => {
    const trust = { bad: { ekAnchors: [Buffer.from('text')] } }
    const refused = (file: Buffer, sets: Parameters<typeof anchorNeeds>[1]) =>
      refusalOf(() => anchorNeeds(file, sets))
    expect(refused(both, trust)).toEqual({ code: 'VERIFY_ANCHOR', check: 'trust' })
    expect(refused(Buffer.from('3003020101', 'hex'), {})).toEqual({
      code: 'VERIFY_CERTIFICATE',
      check: 'certificates',
    })
    expect(refused(Buffer.from('{}'), {}).check).toBe('certificates')
  })
})

describe('joined trust', () => {
  test('is that of all its parts', () => {
    const trust = joinTrust(TRUST_SETS.aliyun, { ekAnchors: [it.authority.der] }, it.options.trust)
    const verified = verifyEvidence(bytesOf(it.evidence), { ...it.options, trust })
    expect(verified.instanceId).toBe(INSTANCE_ID)
  })

  const part = (name: string) => ({
    ekAnchors: [Buffer.from(`ek ${name}`)],
    ekAnchorFingerprints: [`fingerprint ${name}`],
    intermediates: [Buffer.from(`between ${name}`)],
    ekPins: [`pin ${name}`],
    akAnchors: [Buffer.from(`ak ${name}`)],
    crls: [Buffer.from(`list ${name}`)],
  })

  test('has each member of each part, in their order, and the last identity certificate', () => {
    const [one, other] = [Buffer.from('one'), Buffer.from('other')]
    const joined = joinTrust(
      { ...part('a'), identityCertificate: one },
      { ...part('b'), identityCertificate: other },
      {},
    )
    const [a, b] = [part('a'), part('b')]
    expect(joined).toEqual({
      ekAnchors: [...a.ekAnchors, ...b.ekAnchors],
      ekAnchorFingerprints: [...a.ekAnchorFingerprints, ...b.ekAnchorFingerprints],
      intermediates: [...a.intermediates, ...b.intermediates],
      ekPins: [...a.ekPins, ...b.ekPins],
      akAnchors: [...a.akAnchors, ...b.akAnchors],
      crls: [...a.crls, ...b.crls],
      identityCertificate: other,
    })
    expect(Object.keys(joinTrust(part('a')))).not.toContain('identityCertificate')
  })
})

describe('wrapped evidence', () => {
  test('comes out as it went in, and other bytes as they are', () => {
    const bytes = bytesOf(it.evidence)
    for (const wrapper of ['cmw-json', 'cmw-cbor'] as const) {
      expect(Buffer.from(unwrapEvidence(wrapDocument(bytes, wrapper)))).toEqual(bytes)
    }
    expect(unwrapEvidence(bytes)).toBe(bytes)
  })

  test('of another kind is refused in the name of the wrapper', () => {
    const other = Buffer.from('["application/json","e30"]')
    expect(refusalOf(() => unwrapEvidence(other))).toEqual({
      code: 'VERIFY_WRAPPER',
      check: 'wrapper',
    })
  })
})
