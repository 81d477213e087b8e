import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { parseCertificate } from '../../src/certificates/certificate.ts'
import { bySubject, validatePath } from '../../src/certificates/chain.ts'
import { CRL_BYTES_MAX, crlsIn, parseCrl } from '../../src/certificates/crl.ts'
import { byIssuer, isCoveredByCrls } from '../../src/certificates/revocation.ts'
import { parseTrust } from '../../src/verify/trust.ts'
import {
  CA_EXTENSIONS,
  EK_EXTENSIONS,
  ext,
  type Issuer,
  makeAuthority,
  makeEkCertificate,
  newKey,
  newRsaKey,
  spkiOf,
} from '../harness/certificate.ts'
import {
  type CrlFields,
  crlExtension,
  der,
  entry,
  extensionsOfEntry,
  makeCrl,
  utcTime,
} from '../harness/crl.ts'
import {
  AUTHORITY_EXTENSIONS,
  LEAF_EXTENSIONS,
  type OpensslCertificate,
  type OpensslCrl,
  opensslPki,
} from '../harness/openssl-pki.ts'
import { codeOf, NOW, refusalOf } from '../harness/verify-case.ts'

const REVOKED = 'VERIFY_CERTIFICATE_REVOKED'
const NOT_KNOWN = 'VERIFY_CERTIFICATE_CRL'
const ACCEPTED = 'accepted'

interface Asked {
  readonly leaf: Buffer
  readonly between?: readonly Buffer[]
  readonly root: Buffer
  readonly lists: readonly Buffer[]
  readonly demandCrls?: boolean
  readonly now?: Date
}

function pathOf({ leaf, between = [], root, lists, demandCrls = false, now = NOW }: Asked) {
  const anchor = parseCertificate(root)
  const anchors = { fingerprints: new Set([anchor.fingerprint]), pool: bySubject([anchor]) }
  const crls = byIssuer(lists.flatMap((list) => crlsIn(list)))
  const presented = between.map((each) => parseCertificate(each))
  const path = validatePath(parseCertificate(leaf), presented, anchors, now, { crls, demandCrls })
  return { path, isCovered: isCoveredByCrls(path, crls, now.getTime()) }
}

function verdictOf(asked: Asked): string {
  try {
    return pathOf(asked) && ACCEPTED
  } catch (error) {
    return codeOf(error)
  }
}

/** In the manner of NIST's PKITS, 4.4 and 4.14: root, authority, leaf, and what `openssl verify` says. */
describe('lists that openssl makes', () => {
  const pki = opensslPki()
  const authority = (name: string, under?: OpensslCertificate, more: readonly string[] = []) =>
    pki.certificate({
      subject: `/O=PKI/CN=${name}`,
      extensions: [...AUTHORITY_EXTENSIONS, ...more],
      ...(under === undefined ? {} : { under }),
    })
  const root = authority('Root')
  const issuer = authority('Issuer', root)
  const leafUnder = (under: OpensslCertificate, ...more: string[]) =>
    pki.certificate({ subject: '/CN=TPM', extensions: [...LEAF_EXTENSIONS, ...more], under })
  const leaf = leafUnder(issuer)
  const ofRoot = pki.crl({ issuer: root })
  const list = (fields: Partial<OpensslCrl> = {}) => pki.crl({ issuer, ...fields })
  const IDP = (scope: string) => ({
    extensions: ['crlNumber', 'issuingDistributionPoint = critical,@idp'],
    sections: ['[idp]', scope],
  })
  const PLACE = 'fullname = URI:http://example.com/1.crl'
  const PLACED = 'crlDistributionPoints = URI:http://example.com/1.crl'
  const elsewhere = leafUnder(issuer, 'crlDistributionPoints = URI:http://example.com/2.crl')
  const placed = leafUnder(issuer, PLACED)
  const ended = { thisUpdate: '240101000000Z', nextUpdate: '240201000000Z' }

  const CASES: Readonly<
    Record<
      string,
      {
        readonly list: Partial<OpensslCrl>
        readonly leaf?: OpensslCertificate
        readonly ours: string
        /** OpenSSL's verdict differs: it demands a list for all, always. */
        readonly isOtherForOpenssl?: boolean
      }
    >
  > = {
    'none revoked': { list: {}, ours: ACCEPTED },
    'another one revoked': { list: { revoked: [{ serial: '01' }] }, ours: ACCEPTED },
    revoked: { list: { revoked: [{ serial: leaf.serial }] }, ours: REVOKED },
    'revoked, with a reason': {
      list: { revoked: [{ serial: leaf.serial, reason: 'keyCompromise' }] },
      ours: REVOKED,
    },
    'on hold': {
      list: { revoked: [{ serial: leaf.serial, reason: 'holdInstruction,holdInstructionReject' }] },
      ours: REVOKED,
    },
    'of version 1': { list: { extensions: [] }, ours: ACCEPTED },
    'of version 1, revoked': {
      list: { extensions: [], revoked: [{ serial: leaf.serial }] },
      ours: REVOKED,
    },
    ended: { list: ended, ours: NOT_KNOWN },
    'ended, revoked': { list: { ...ended, revoked: [{ serial: leaf.serial }] }, ours: REVOKED },
    'not yet begun': {
      list: { thisUpdate: '400101000000Z', nextUpdate: '400201000000Z' },
      ours: NOT_KNOWN,
    },
    'of users only': { list: IDP('onlyuser = TRUE'), ours: ACCEPTED },
    'of users only, revoked': {
      list: { ...IDP('onlyuser = TRUE'), revoked: [{ serial: leaf.serial }] },
      ours: REVOKED,
    },
    'of authorities only': { list: IDP('onlyCA = TRUE'), ours: NOT_KNOWN },
    'of attributes only': { list: IDP('onlyAA = TRUE'), ours: NOT_KNOWN },
    'of the place that the certificate names': { list: IDP(PLACE), leaf: placed, ours: ACCEPTED },
    'of the place that the certificate names, revoked': {
      list: { ...IDP(PLACE), revoked: [{ serial: placed.serial }] },
      leaf: placed,
      ours: REVOKED,
    },
    'of another place': { list: IDP(PLACE), leaf: elsewhere, ours: NOT_KNOWN },
    'of a place, where the certificate names none': {
      list: IDP(PLACE),
      ours: NOT_KNOWN,
    },
  }

  test.each(Object.entries(CASES))('%s', (_, it) => {
    const made = list(it.list)
    const asked = { leaf: (it.leaf ?? leaf).der, between: [issuer.der], root: root.der }
    const lists = [ofRoot.pem, made.pem]
    const ours = verdictOf({ ...asked, lists, demandCrls: true, now: new Date() })
    const options = ['-crl_check_all', '-CRLfile', made.file, '-CRLfile', ofRoot.file]
    const openssl = pki.verifies(it.leaf ?? leaf, [issuer], root, options)
    expect({ ours, openssl }).toEqual({ ours: it.ours, openssl: it.ours === ACCEPTED })
  })

  test('an authority on the path is revoked', () => {
    const revoking = pki.crl({ issuer: root, revoked: [{ serial: issuer.serial }] })
    const asked = { leaf: leaf.der, between: [issuer.der], root: root.der, now: new Date() }
    expect(verdictOf({ ...asked, lists: [revoking.der] })).toBe(REVOKED)
    expect(verdictOf({ ...asked, lists: [ofRoot.der] })).toBe(ACCEPTED)
  })

  test('a list of the same name and another key is not used', () => {
    const namesake = authority('Issuer', root, ['nsComment = another'])
    const foreign = pki.crl({ issuer: namesake, revoked: [{ serial: leaf.serial }] })
    const unnamed = pki.crl({
      issuer: namesake,
      extensions: [],
      revoked: [{ serial: leaf.serial }],
    })
    const asked = { leaf: leaf.der, between: [issuer.der], root: root.der, now: new Date() }
    for (const { der: bytes } of [foreign, unnamed]) {
      const lists = [ofRoot.der, bytes]
      expect(verdictOf({ ...asked, lists })).toBe(ACCEPTED)
      expect(verdictOf({ ...asked, lists, demandCrls: true })).toBe(NOT_KNOWN)
    }
  })

  test('an issuer that may not sign lists', () => {
    const silent = pki.certificate({
      subject: '/CN=Silent',
      extensions: [
        ...AUTHORITY_EXTENSIONS.filter((line) => !line.startsWith('keyUsage')),
        'keyUsage = critical,keyCertSign',
      ],
      under: root,
    })
    const lists = [pki.crl({ issuer: silent }).der]
    const asked = { leaf: leafUnder(silent).der, between: [silent.der], root: root.der }
    expect(verdictOf({ ...asked, lists, now: new Date() })).toBe(NOT_KNOWN)
  })

  test('lists are demanded of every certificate but the anchor', () => {
    // Before the time is looked at: a list of the next second is not in force.
    const ofIssuer = list().der
    const asked = { leaf: leaf.der, between: [issuer.der], root: root.der, now: new Date() }
    expect(verdictOf({ ...asked, lists: [ofIssuer] })).toBe(ACCEPTED)
    expect(verdictOf({ ...asked, lists: [ofIssuer], demandCrls: true })).toBe(NOT_KNOWN)
    expect(verdictOf({ ...asked, lists: [ofRoot.der], demandCrls: true })).toBe(NOT_KNOWN)
    expect(verdictOf({ ...asked, lists: [], demandCrls: true })).toBe(NOT_KNOWN)
    expect(pathOf({ ...asked, lists: [ofIssuer, ofRoot.der] }).isCovered).toBe(true)
    expect(pathOf({ ...asked, lists: [ofIssuer] }).isCovered).toBe(false)
  })

  test('beside an ended list, the current one counts; what the ended one has stays revoked', () => {
    const current = list().der
    const asked = { leaf: leaf.der, between: [issuer.der], root: root.der, now: new Date() }
    expect(verdictOf({ ...asked, lists: [list(ended).der, current] })).toBe(ACCEPTED)
    const revoking = list({ ...ended, revoked: [{ serial: leaf.serial }] }).der
    expect(verdictOf({ ...asked, lists: [revoking, current] })).toBe(REVOKED)
  })

  test('100,000 entries', () => {
    const serials = Array.from({ length: 100_000 }, (_, at) => ({
      serial: (0x5000_0000 + at).toString(16),
    }))
    const made = list({ revoked: [...serials, { serial: leaf.serial }] })
    const { revoked } = parseCrl(made.der)
    expect(revoked.size).toBe(100_001)
    const text = execFileSync('openssl', ['crl', '-in', made.file, '-noout', '-text'], {
      encoding: 'utf8',
      maxBuffer: 64 << 20,
    })
    const theirs = [...text.matchAll(/Serial Number: ([0-9A-F]+)/g)].map(([, it = '']) =>
      it.toLowerCase(),
    )
    expect(new Set(revoked.keys())).toEqual(new Set(theirs))
    const asked = { leaf: leaf.der, between: [issuer.der], root: root.der, now: new Date() }
    expect(verdictOf({ ...asked, lists: [made.der] })).toBe(REVOKED)
  })
})

describe('lists that openssl would not make', () => {
  const issuer: Issuer = makeAuthority('Issuer')
  const made = (fields: Partial<CrlFields>) => makeCrl({ issuer, ...fields })
  const pem = (list: Buffer) =>
    `-----BEGIN X509 CRL-----\n${list.toString('base64')}\n-----END X509 CRL-----\n`

  test('two in PEM are read', () => {
    expect(crlsIn(Buffer.from(`${pem(made({}))}text\n${pem(made({}))}`))).toHaveLength(2)
  })

  test.each<[string, Uint8Array]>([
    ['nothing', Buffer.alloc(0)],
    ['text without a list', Buffer.from('no list')],
    ['a certificate', issuer.der],
    ['half of a list', made({}).subarray(0, 100)],
    [
      'a list, and a damaged one in PEM',
      Buffer.from(`${pem(made({}))}${pem(made({})).replace('M', '!')}`),
    ],
    [
      'a list, and one without an end in PEM',
      Buffer.from(`${pem(made({}))}${pem(made({})).slice(0, -20)}`),
    ],
    ['a list and a byte', Buffer.concat([made({}), Buffer.of(0)])],
    ['an indefinite length', Buffer.from('30800000', 'hex')],
    ['more than the longest', Buffer.alloc(CRL_BYTES_MAX + 1, 0x30)],
  ])('%s is no file of lists', (_, file) => {
    expect(refusalOf(() => parseTrust({ crls: [file] })).code).toBe('VERIFY_CRL_FILE')
  })

  const id = Buffer.alloc(20, 7)
  const root = makeAuthority('Root', {
    extensions: [...CA_EXTENSIONS, ext.subjectKeyIdentifier(id)],
  })
  const named = { extensions: [crlExtension(35, der(0x30, der(0x80, id)))] }
  const leaf = makeEkCertificate(root, spkiOf(newKey()), {
    extensions: EK_EXTENSIONS.filter(({ oid }) => oid !== '2.5.29.35'),
  })

  test('a list that names the key and was not signed by it is refused, not passed over', () => {
    const genuine = makeCrl({ issuer: root, ...named })
    const altered = makeCrl({ issuer: root, ...named, signer: newKey() })
    expect(verdictOf({ leaf, root: root.der, lists: [genuine] })).toBe(ACCEPTED)
    expect(verdictOf({ leaf, root: root.der, lists: [altered] })).toBe(NOT_KNOWN)
    expect(verdictOf({ leaf, root: root.der, lists: [genuine, altered] })).toBe(NOT_KNOWN)
  })

  test('a list signed with SHA-1 is refused, not passed over', () => {
    const algorithm = der(0x30, '06072a8648ce3d0401')
    const lists = [makeCrl({ issuer: root, algorithm })]
    expect(verdictOf({ leaf, root: root.der, lists })).toBe(NOT_KNOWN)
  })

  test('a list that a key of another kind signed is not used', () => {
    const rsa = makeAuthority('Root', {}, undefined, newRsaKey())
    const algorithm = der(0x30, '06092a864886f70d01010b 0500')
    const lists = [makeCrl({ issuer: rsa, algorithm })]
    expect(verdictOf({ leaf, root: root.der, lists })).toBe(ACCEPTED)
    expect(verdictOf({ leaf, root: root.der, lists, demandCrls: true })).toBe(NOT_KNOWN)
  })

  test('current to the second, and without an end never', () => {
    const until = (text: string) => [makeCrl({ issuer: root, nextUpdate: utcTime(text) })]
    const asked = { leaf, root: root.der }
    expect(verdictOf({ ...asked, lists: until('261123120000Z') })).toBe(ACCEPTED)
    expect(verdictOf({ ...asked, lists: until('261123115959Z') })).toBe(NOT_KNOWN)
    const endless = makeCrl({ issuer: root, nextUpdate: Buffer.alloc(0) })
    expect(verdictOf({ ...asked, lists: [endless] })).toBe(NOT_KNOWN)
  })

  test('entries are gone through once: ten times as many take no thirty times as long', () => {
    const of = (count: number) => {
      const entries = Array.from({ length: count }, (_, at) =>
        entry((0x5000_0000 + at).toString(16), extensionsOfEntry(crlExtension(21, '0a0101'))),
      )
      return made({ entries })
    }
    const cpuMicros = (bytes: Buffer) => {
      const before = process.cpuUsage()
      parseCrl(bytes)
      const { user, system } = process.cpuUsage(before)
      return user + system
    }
    const [few, many] = [of(10_000), of(100_000)]
    cpuMicros(few)
    expect(cpuMicros(many)).toBeLessThan(30 * cpuMicros(few))
  })
})
