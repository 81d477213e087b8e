import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { parseCertificate } from '../../src/certificates/certificate.ts'
import { KnownCertificates } from '../../src/certificates/known-certificates.ts'
import { decodeEvidence, type Evidence } from '../../src/format/evidence.ts'
import { parseTrust, verifyEvidence } from '../../src/verify/index.ts'
import { readGenuine } from '../fuzz/genuine.ts'
import { makeAuthority, makeEkCertificate, newKey } from '../harness/certificate.ts'
import { flipLast, withEk } from '../harness/vector.ts'
import { bytesOf, NOW, refusalOf } from '../harness/verify-case.ts'

/** What is remembered from one evidence to the next, and that it changes no verdict. */

const genuine = readGenuine()
const evidence = decodeEvidence(Buffer.from(genuine.evidence))
const ekSpki = parseCertificate(Buffer.from(genuine.ekCertificate, 'base64')).publicKey
const root = makeAuthority('Root')
const between = makeAuthority('Between', { notAfter: new Date('2027-01-01') }, root)
const certificates = [makeEkCertificate(between, ekSpki), between.der]

function asked() {
  const trust = parseTrust({
    ekAnchors: [root.der],
    identityCertificate: Buffer.from(genuine.identityCertificate),
  })
  const nonce = Buffer.from(genuine.nonceHex, 'hex')
  return { trust, nonce, now: NOW, allowProvisional: true }
}

describe('certificates that led to an anchor before', () => {
  const good = bytesOf(withEk(evidence, certificates))
  const codeOf = (it: Evidence, options: ReturnType<typeof asked>) =>
    refusalOf(() => verifyEvidence(bytesOf(it), options)).code

  test('come back as they are; others are parsed', () => {
    const options = asked()
    const [leaf = Buffer.alloc(0)] = certificates
    expect(options.trust.known.parse(leaf)).not.toBe(options.trust.known.parse(leaf))
    verifyEvidence(good, options)
    expect(options.trust.known.parse(leaf)).toBe(options.trust.known.parse(leaf))
  })

  test('are judged by the time of each call', () => {
    const options = asked()
    verifyEvidence(good, options)
    const later = { ...options, now: new Date('2027-01-02') }
    expect(codeOf(withEk(evidence, certificates), later)).toBe('VERIFY_CERTIFICATE_TIME')
  })

  test('do not stand for altered ones', () => {
    const options = asked()
    verifyEvidence(good, options)
    const [leaf = Buffer.alloc(0)] = certificates
    for (const altered of [
      [flipLast(leaf), between.der],
      [leaf, flipLast(between.der)],
    ]) {
      expect(codeOf(withEk(evidence, altered), options)).toBe('VERIFY_CERTIFICATE_SIGNATURE')
    }
  })

  test('do not stand for those of another key in the same name', () => {
    const options = asked()
    verifyEvidence(good, options)
    const namesake = makeAuthority('Between', {}, root)
    const leaf = makeEkCertificate({ ...namesake, key: newKey() }, ekSpki)
    const refused = codeOf(withEk(evidence, [leaf, namesake.der, between.der]), options)
    expect(refused).toBe('VERIFY_CERTIFICATE_SIGNATURE')
  })

  test('are at most 256, and what was refused is not among them', () => {
    const known = new KnownCertificates()
    const first = parseCertificate(root.der)
    const later = Array.from({ length: 256 }, (_, at) => {
      const der = Buffer.from(`certificate ${at}`)
      return { ...first, der, fingerprint: createHash('sha256').update(der).digest('hex') }
    })
    for (const certificate of [first, ...later]) known.keep([certificate])
    expect(known.parse(first.der)).not.toBe(first)
    expect(later.every((certificate) => known.parse(certificate.der) === certificate)).toBe(true)
    const options = asked()
    const refused = [flipLast(certificates[0] ?? Buffer.alloc(0)), between.der]
    codeOf(withEk(evidence, refused), options)
    const [altered = Buffer.alloc(0)] = refused
    expect(options.trust.known.parse(altered)).not.toBe(options.trust.known.parse(altered))
  })
})
