import { describe, expect, test } from 'vitest'
import { type Certificate, parseCertificate } from '../../src/certificates/certificate.ts'
import { bySubject, validatePath } from '../../src/certificates/chain.ts'
import {
  CA_EXTENSIONS,
  EK_EXTENSIONS,
  type Extension,
  ext,
  type Issuer,
  makeAuthorities,
  makeAuthority,
  makeEkCertificate,
  newKey,
  newRsaKey,
  spkiOf,
} from '../harness/certificate.ts'
import { detailOf, NOW, refusalOf } from '../harness/verify-case.ts'

/** Paths of certificates without evidence around them: what is accepted, and what building them costs. */

const KEY = spkiOf(newKey())

interface Chain {
  readonly leaf: Buffer
  readonly between?: readonly Buffer[]
  readonly anchors: readonly Buffer[]
  readonly now?: Date
  /** What the certificates of this chain become before they are looked at. */
  readonly seen?: (certificate: Certificate) => Certificate
}

function pathOf({ leaf, between = [], anchors, now = NOW, seen = (it) => it }: Chain) {
  const pool = anchors.map((der) => seen(parseCertificate(der)))
  const fingerprints = new Set(pool.map(({ fingerprint }) => fingerprint))
  const presented = between.map((der) => seen(parseCertificate(der)))
  const trusted = { fingerprints, pool: bySubject(pool) }
  return validatePath(seen(parseCertificate(leaf)), presented, trusted, now)
}

const ders = (issuers: readonly Issuer[]) => issuers.map(({ der }) => der)
const codeOf = (chain: Chain) => refusalOf(() => pathOf(chain)).code

describe('accepted', () => {
  test('a path of seven', () => {
    const [root, ...between] = makeAuthorities(6)
    const leaf = makeEkCertificate(between.at(-1) ?? root, KEY)
    expect(pathOf({ leaf, between: ders(between), anchors: [root.der] })).toHaveLength(7)
  })

  test('at exactly notBefore, and at exactly notAfter, of leaf and anchor', () => {
    for (const fields of [{ notBefore: NOW }, { notAfter: NOW }]) {
      const root = makeAuthority('Root', fields)
      const leaf = makeEkCertificate(root, KEY, fields)
      expect(pathOf({ leaf, anchors: [root.der] })).toHaveLength(2)
    }
  })

  test.each([
    ['P-384', () => newKey('P-384')],
    ['P-521', () => newKey('P-521')],
    ['RSA of 2048 bits', () => newRsaKey()],
    ['RSA with an exponent of 3', () => newRsaKey(2048, 3)],
  ])('an authority with a key of %s', (_, makeKey) => {
    const root = makeAuthority('Root', {}, undefined, makeKey())
    expect(pathOf({ leaf: makeEkCertificate(root, KEY), anchors: [root.der] })).toHaveLength(2)
  })

  test('a self-issued authority does not count for a path length of 0; another one does', () => {
    const only = { extensions: [ext.basicConstraints(true, 0), ext.keyUsage(5)] }
    const root = makeAuthority('Root')
    const one = makeAuthority('One', only, root)
    const below = (name: string) => {
      const last = makeAuthority(name, {}, one)
      const leaf = makeEkCertificate(last, KEY)
      return { leaf, between: [last.der, one.der], anchors: [root.der] }
    }
    expect(pathOf(below('One'))).toHaveLength(4)
    expect(codeOf(below('Two'))).toBe('VERIFY_CERTIFICATE_PATH_LENGTH')
  })

  test('as many authorities below another as its path length allows, and no more', () => {
    const extensions = [ext.basicConstraints(true, 1), ext.keyUsage(5)]
    const root = makeAuthority('Root', { extensions })
    const one = makeAuthority('One', {}, root)
    const two = makeAuthority('Two', {}, one)
    const chainOf = (...between: Issuer[]) => ({
      leaf: makeEkCertificate(between.at(-1) ?? root, KEY),
      between: ders(between),
      anchors: [root.der],
    })
    expect(pathOf(chainOf(one))).toHaveLength(3)
    expect(detailOf(() => pathOf(chainOf(one, two)))).toBe(
      'VERIFY_CERTIFICATE_PATH_LENGTH 2 below, 1 allowed.',
    )
  })
})

test.each([
  [
    'before',
    { notBefore: new Date('2026-11-23T12:00:01Z') },
    'Not before 2026-11-23T12:00:01.000Z.',
  ],
  ['after', { notAfter: new Date('2026-11-23T11:59:59Z') }, 'Not after 2026-11-23T11:59:59.000Z.'],
])('a refusal says %s which time', (_, fields, found) => {
  const root = makeAuthority('Root')
  const chain = { leaf: makeEkCertificate(root, KEY, fields), anchors: [root.der] }
  expect(detailOf(() => pathOf(chain))).toBe(`VERIFY_CERTIFICATE_TIME ${found}`)
})

describe('names (RFC 5280 7.1)', () => {
  const under = (
    name: string,
    fields: Parameters<typeof makeEkCertificate>[2],
    subjectAs: 'printable' | 'utf8' | 'ia5' = 'printable',
  ): Chain => {
    const root = makeAuthority(name, { subjectAs, issuerAs: subjectAs })
    return { leaf: makeEkCertificate(root, KEY, fields), anchors: [root.der] }
  }

  test.each([
    ['UTF8String for PrintableString', { issuerAs: 'utf8' }],
    ['another case', { issuerAs: 'utf8', issuer: 'STM TPM ECC root CA 01' }],
    ['other blanks', { issuer: ' STM TPM  ECC Root CA 01 ' }],
  ] as const)('the same: %s', (_, fields) => {
    expect(pathOf(under('STM TPM ECC Root CA 01', fields))).toHaveLength(2)
  })

  test('the same: letters composed or not', () => {
    const fields = { issuer: 'Autorit\u0065\u0301' }
    expect(pathOf(under('Autorit\u00e9', fields, 'utf8'))).toHaveLength(2)
  })

  test.each([
    ['another text', { issuer: 'STM TPM ECC Root CA 02' }, 'printable'],
    ['no blanks', { issuer: 'STMTPMECCRootCA01' }, 'printable'],
    ['a type that is not compared as text', { issuerAs: 'utf8' }, 'ia5'],
  ] as const)('another: %s', (_, fields, subjectAs) => {
    const chain = under('STM TPM ECC Root CA 01', fields, subjectAs)
    expect(codeOf(chain)).toBe('VERIFY_CERTIFICATE_ISSUER')
  })
})

describe('key identifiers', () => {
  const id = Buffer.alloc(20, 7)
  const rootWith = (...more: Extension[]) =>
    makeAuthority('Root', { extensions: [...CA_EXTENSIONS, ...more] })
  const leafWith = (root: Issuer, aki: Extension) =>
    makeEkCertificate(root, KEY, {
      extensions: [...EK_EXTENSIONS.filter(({ oid }) => oid !== aki.oid), aki],
    })

  test('lead to the key that is named, and to no other', () => {
    const root = rootWith(ext.subjectKeyIdentifier(id))
    const [same, other] = [id, Buffer.alloc(20, 8)].map(ext.authorityKeyIdentifier)
    if (same === undefined || other === undefined) throw new Error('no extension')
    expect(pathOf({ leaf: leafWith(root, same), anchors: [root.der] })).toHaveLength(2)
    const refused = codeOf({ leaf: leafWith(root, other), anchors: [root.der] })
    expect(refused).toBe('VERIFY_CERTIFICATE_ISSUER')
  })

  test('are not needed: an issuer may be named in another way', () => {
    const root = rootWith(ext.subjectKeyIdentifier(id))
    const named = ext.raw('2.5.29.35', '3003 820101')
    expect(pathOf({ leaf: leafWith(root, named), anchors: [root.der] })).toHaveLength(2)
  })
})

describe('what building paths costs', () => {
  /** Authorities of one name: each may have issued each other, and none is what it says. */
  const namesakes = (count: number, extensions = CA_EXTENSIONS) =>
    ders(Array.from({ length: count }, () => makeAuthority('Root', { extensions })))

  test('fifteen paths that do not hold are tried before a good one, and not sixteen', () => {
    const root = makeAuthority('Root')
    const leaf = makeEkCertificate(root, KEY)
    expect(pathOf({ leaf, anchors: [...namesakes(15), root.der] })).toHaveLength(2)
    const refused = codeOf({ leaf, anchors: [...namesakes(16), root.der] })
    expect(refused).toBe('VERIFY_CERTIFICATE_SIGNATURE')
  })

  test('a certificate that is presented over and over is tried once', () => {
    const root = makeAuthority('Root')
    const good = makeAuthority('Between', {}, root)
    const other = makeAuthority('Between', {}, root)
    const leaf = makeEkCertificate(good, KEY)
    const between = [...Array.from({ length: 16 }, () => other.der), good.der]
    expect(pathOf({ leaf, between, anchors: [root.der] })).toHaveLength(3)
  })

  test('no certificate stands twice in a path', () => {
    const root = makeAuthority('Root')
    // With the name of the root, and each of them named as the issuer of all.
    const [good, other] = [makeAuthority('Root', {}, root), makeAuthority('Root', {}, root)]
    const certificates = [good, other, root].map(({ der }) => parseCertificate(der))
    const [, , anchor] = certificates
    const anchors = {
      fingerprints: new Set([anchor?.fingerprint ?? '']),
      pool: bySubject(certificates),
    }
    const leaf = parseCertificate(makeEkCertificate(good, KEY))
    expect(validatePath(leaf, [], anchors, NOW)).toEqual([leaf, certificates[0], anchor])
  })

  test('1023 issuers that lead nowhere are looked at before a good one, and not 1024', () => {
    const root = makeAuthority('Root')
    const leaf = parseCertificate(makeEkCertificate(root, KEY))
    const anchor = parseCertificate(root.der)
    const fingerprints = new Set([anchor.fingerprint])
    const pathBeside = (count: number) => {
      const nowhere = Array.from({ length: count }, (_, at) => {
        return { ...anchor, fingerprint: `${at}`, comparableIssuer: 'nobody' }
      })
      return () =>
        validatePath(leaf, [], { fingerprints, pool: bySubject([...nowhere, anchor]) }, NOW)
    }
    expect(pathBeside(1023)()).toEqual([leaf, anchor])
    expect(refusalOf(pathBeside(1024)).code).toBe('VERIFY_CERTIFICATE_ISSUER')
  })

  test('seven certificates of one name are not put into every order', () => {
    let reads = 0
    // Whatever is asked of a certificate is counted: 7! paths lead to no anchor.
    const seen = (certificate: Certificate) =>
      new Proxy(certificate, {
        get: (target, member, receiver) => {
          reads += 1
          return Reflect.get(target, member, receiver)
        },
      })
    // The issuer's names, 4908 of them and all empty.
    const aki = ext.raw('2.5.29.35', `3082265c a1822658 ${'8100'.repeat(4908)}`)
    const between = namesakes(7, [...CA_EXTENSIONS, aki])
    const leaf = makeEkCertificate(makeAuthority('Root'), KEY)
    const anchors = ders(Array.from({ length: 40 }, (_, at) => makeAuthority(`Maker ${at}`)))
    expect(codeOf({ leaf, between, anchors, seen })).toBe('VERIFY_CERTIFICATE_ISSUER')
    expect(reads).toBeLessThan(20_000)
  })
})
