import { describe, expect, test } from 'vitest'
import { parseCertificate } from '../../src/certificates/certificate.ts'
import { bySubject, validatePath } from '../../src/certificates/chain.ts'
import {
  CA_EXTENSIONS,
  EK_EXTENSIONS,
  ext,
  makeAuthority,
  makeEkCertificate,
  newKey,
  spkiOf,
} from '../harness/certificate.ts'
import { der } from '../harness/crl.ts'
import {
  AUTHORITY_EXTENSIONS,
  LEAF_EXTENSIONS,
  type OpensslCertificate,
  type OpensslFields,
  type OpensslPki,
  opensslPki,
} from '../harness/openssl-pki.ts'
import { codeOf, detailOf, NOW } from '../harness/verify-case.ts'

/**
 * Name constraints, by certificates that openssl makes and, in each case, by what `openssl verify` says
 * of the same path: in the manner of NIST's PKITS, 4.13.
 */

const OUTSIDE = 'VERIFY_CERTIFICATE_NAMES'
const NOT_UNDERSTOOD = 'VERIFY_CERTIFICATE_EXTENSION'

interface Case {
  /** Of the authorities below the root, topmost first. */
  readonly constraints: readonly (string | undefined)[]
  readonly names?: readonly string[]
  /** Sections `dn…`, which `dirName:` refers to. */
  readonly sections?: readonly string[]
  readonly subject?: string
  readonly san?: string
  readonly stringMask?: string
  /** The code of a refusal. */
  readonly refused?: string
  /** What OpenSSL lets pass, and why we do not. */
  readonly stricter?: string
}

const MAKER = '[maker]\nC = DE\nO = Maker'
const MAKER_CHIPS = '[chips]\nC = DE\nO = Maker\nOU = Chips'
const OTHER = '[other]\nC = DE\nO = Other'
const IN_MAKER = '/C=DE/O=Maker/CN=Sub'

const CASES: Readonly<Record<string, Case>> = {
  'directoryName: in a permitted subtree': {
    constraints: ['permitted;dirName:maker'],
    subject: '/C=DE/O=Maker/CN=TPM',
  },
  'directoryName: case and blanks do not count': {
    constraints: ['permitted;dirName:maker'],
    subject: '/C=DE/O= maKER/CN=TPM',
  },
  'directoryName: outside of the permitted subtree': {
    constraints: ['permitted;dirName:maker'],
    subject: '/C=DE/O=Other/CN=TPM',
    refused: OUTSIDE,
  },
  'directoryName: permitted, and written in another string type than text is compared in': {
    constraints: ['permitted;dirName:maker'],
    subject: '/C=DE/O=Maker/CN=TPM',
    stringMask: 'MASK:0x0800',
    refused: OUTSIDE,
    stricter:
      'what text such bytes are is not known for sure, and to be permitted is to be the same',
  },
  'directoryName: shorter than the permitted subtree': {
    constraints: ['permitted;dirName:maker'],
    subject: '/C=DE',
    refused: OUTSIDE,
  },
  'directoryName: in the second of two permitted subtrees': {
    constraints: ['permitted;dirName:maker,permitted;dirName:other'],
    subject: '/C=DE/O=Other/CN=TPM',
  },
  'directoryName: in an excluded subtree': {
    constraints: ['excluded;dirName:other'],
    subject: '/C=DE/O=Other/CN=TPM',
    refused: OUTSIDE,
  },
  'directoryName: excluded, and written in another string type': {
    constraints: ['excluded;dirName:other'],
    subject: '/C=DE/O=Other/CN=TPM',
    stringMask: 'MASK:0x0800',
    refused: OUTSIDE,
  },
  'directoryName: not in the excluded subtree': {
    constraints: ['excluded;dirName:other'],
    subject: '/C=DE/O=Maker/CN=TPM',
  },
  'directoryName: excluded within what is permitted': {
    constraints: ['permitted;dirName:maker,excluded;dirName:chips'],
    subject: '/C=DE/O=Maker/OU=Chips/CN=TPM',
    refused: OUTSIDE,
  },
  'directoryName: of subjectAltName, with an empty subject': {
    constraints: ['permitted;dirName:maker'],
    subject: '/',
    san: 'dirName:chips',
  },
  'directoryName: of subjectAltName, outside': {
    constraints: ['permitted;dirName:maker'],
    subject: '/C=DE/O=Maker/CN=TPM',
    san: 'dirName:other',
    refused: OUTSIDE,
  },
  'directoryName: a wider subtree below permits no more': {
    constraints: ['permitted;dirName:chips', 'permitted;dirName:maker'],
    names: ['/C=DE/O=Maker/CN=Top', '/C=DE/O=Maker/OU=Chips/CN=Sub'],
    subject: '/C=DE/O=Maker/CN=TPM',
    refused: OUTSIDE,
  },
  'directoryName: a narrower subtree below permits less': {
    constraints: ['permitted;dirName:maker', 'permitted;dirName:chips'],
    names: ['/C=DE/O=Maker/CN=Top', IN_MAKER],
    subject: '/C=DE/O=Maker/CN=TPM',
    refused: OUTSIDE,
  },
  'directoryName: what is excluded stays so below': {
    constraints: ['excluded;dirName:other', undefined],
    names: [IN_MAKER, '/C=DE/O=Maker/CN=Below'],
    subject: '/C=DE/O=Other/CN=TPM',
    refused: OUTSIDE,
  },
  'directoryName: an authority between is outside': {
    constraints: ['permitted;dirName:maker', undefined],
    names: [IN_MAKER, '/C=DE/O=Other/CN=Between'],
    subject: '/C=DE/O=Maker/CN=TPM',
    refused: OUTSIDE,
  },
  'directoryName: a self-issued authority is not judged': {
    constraints: ['permitted;dirName:chips', undefined],
    names: [IN_MAKER, IN_MAKER],
    subject: '/C=DE/O=Maker/OU=Chips/CN=TPM',
  },
  'directoryName: constraints of a self-issued authority hold': {
    constraints: [undefined, 'permitted;dirName:chips'],
    names: [IN_MAKER, IN_MAKER],
    subject: '/C=DE/O=Maker/CN=TPM',
    refused: OUTSIDE,
  },
  'rfc822Name: of the host': {
    constraints: ['permitted;email:example.com'],
    san: 'email:tpm@EXAMPLE.com',
  },
  'rfc822Name: of a host below, where the host is permitted': {
    constraints: ['permitted;email:example.com'],
    san: 'email:tpm@mail.example.com',
    refused: OUTSIDE,
  },
  'rfc822Name: of a host below a domain': {
    constraints: ['permitted;email:.example.com'],
    san: 'email:tpm@mail.example.com',
  },
  'rfc822Name: of the domain itself, where those below are permitted': {
    constraints: ['permitted;email:.example.com'],
    san: 'email:tpm@example.com',
    refused: OUTSIDE,
  },
  'rfc822Name: one mailbox': {
    constraints: ['permitted;email:tpm@example.com'],
    san: 'email:tpm@example.com',
  },
  'rfc822Name: another mailbox': {
    constraints: ['permitted;email:tpm@example.com'],
    san: 'email:TPM@example.com',
    refused: OUTSIDE,
  },
  'rfc822Name: excluded': {
    constraints: ['excluded;email:example.com'],
    san: 'email:tpm@example.com',
    refused: OUTSIDE,
  },
  'rfc822Name: in the subject': {
    constraints: ['permitted;email:example.com'],
    subject: '/CN=TPM/emailAddress=tpm@example.org',
    refused: OUTSIDE,
  },
  'dNSName: the host itself, and below': {
    constraints: ['permitted;DNS:example.com'],
    san: 'DNS:example.com,DNS:a.b.Example.com',
  },
  'dNSName: one that only ends alike': {
    constraints: ['permitted;DNS:example.com'],
    san: 'DNS:anexample.com',
    refused: OUTSIDE,
  },
  'dNSName: one of two is outside': {
    constraints: ['permitted;DNS:example.com'],
    san: 'DNS:example.com,DNS:example.org',
    refused: OUTSIDE,
  },
  'dNSName: excluded': {
    constraints: ['excluded;DNS:example.com'],
    san: 'DNS:a.example.com',
    refused: OUTSIDE,
  },
  'dNSName: a wildcard': {
    constraints: ['excluded;DNS:a.example.com'],
    san: 'DNS:*.example.com',
    refused: NOT_UNDERSTOOD,
    stricter: 'it stands for the excluded one as well',
  },
  'URI: its host': {
    constraints: ['permitted;URI:example.com'],
    san: 'URI:http://example.com:80/path',
  },
  'URI: a host below a domain': {
    constraints: ['permitted;URI:.example.com'],
    san: 'URI:https://a.example.com/',
  },
  'URI: a host below, where the host is permitted': {
    constraints: ['permitted;URI:example.com'],
    san: 'URI:https://a.example.com/',
    refused: OUTSIDE,
  },
  'URI: excluded': {
    constraints: ['excluded;URI:.example.com'],
    san: 'URI:https://a.example.com/',
    refused: OUTSIDE,
  },
  'URI: without a host': {
    constraints: ['permitted;URI:.example.com'],
    san: 'URI:urn:uuid:1',
    refused: NOT_UNDERSTOOD,
  },
  'URI: of an address': {
    constraints: ['excluded;URI:.example.com'],
    san: 'URI:http://192.0.2.1/',
    refused: NOT_UNDERSTOOD,
    stricter: 'RFC 5280 4.2.1.10 has it refused',
  },
  'iPAddress: in a network': {
    constraints: ['permitted;IP:192.0.2.0/255.255.255.0'],
    san: 'IP:192.0.2.77',
  },
  'iPAddress: in another network': {
    constraints: ['permitted;IP:192.0.2.0/255.255.255.0'],
    san: 'IP:192.0.3.77',
    refused: OUTSIDE,
  },
  'iPAddress: of version 6, where a network of version 4 is permitted': {
    constraints: ['permitted;IP:192.0.2.0/255.255.255.0'],
    san: 'IP:2001:db8::1',
    refused: OUTSIDE,
  },
  'iPAddress: in an excluded network of version 6': {
    constraints: ['excluded;IP:2001:db8::/ffff:ffff::'],
    san: 'IP:2001:db8::1',
    refused: OUTSIDE,
  },
  'iPAddress: a mask with gaps': {
    constraints: ['permitted;IP:192.0.2.0/255.0.255.0'],
    san: 'IP:192.0.2.1',
    refused: NOT_UNDERSTOOD,
    stricter: 'it is no network',
  },
  'another form than that of the name': {
    constraints: ['permitted;DNS:example.com'],
    san: 'IP:192.0.2.1',
  },
  'a form that is not understood, and no such name': {
    constraints: ['permitted;RID:1.2.3.4'],
    san: 'DNS:example.com',
  },
  'a form that is not understood, and such a name': {
    constraints: ['permitted;RID:1.2.3.4'],
    san: 'RID:1.2.3.4',
    refused: NOT_UNDERSTOOD,
  },
  'otherName, and such a name': {
    constraints: ['excluded;otherName:1.2.3.4;UTF8:x'],
    san: 'otherName:1.2.3.5;UTF8:y',
    refused: NOT_UNDERSTOOD,
    stricter: 'it compares the types, which nothing says to be all',
  },
  'a mailbox of RFC 9598, where mailboxes are constrained': {
    constraints: ['excluded;email:example.com'],
    san: 'otherName:1.3.6.1.5.5.7.8.9;UTF8:tpm@example.com',
    refused: NOT_UNDERSTOOD,
  },
}

interface Chain {
  readonly leaf: OpensslCertificate
  readonly between: readonly OpensslCertificate[]
  readonly root: OpensslCertificate
}

function chainOf(pki: OpensslPki, { constraints, names = [], ...leaf }: Case): Chain {
  const sections = [MAKER, MAKER_CHIPS, OTHER]
  const authority = (fields: Partial<OpensslFields>, more: readonly string[] = []) =>
    pki.certificate({
      subject: '/CN=Root',
      extensions: [...AUTHORITY_EXTENSIONS, ...more],
      sections,
      ...fields,
    })
  const root = authority({})
  const between: OpensslCertificate[] = []
  for (const [at, constraint] of constraints.entries()) {
    const more = constraint === undefined ? [] : [`nameConstraints = critical,${constraint}`]
    const under = between.at(-1) ?? root
    between.push(authority({ subject: names[at] ?? `/CN=Authority ${at}`, under }, more))
  }
  const { subject = '/', san, stringMask } = leaf
  return {
    root,
    between,
    leaf: pki.certificate({
      subject,
      extensions: [
        ...LEAF_EXTENSIONS,
        ...(san === undefined ? [] : [`subjectAltName = critical,${san}`]),
      ],
      sections,
      under: between.at(-1) ?? root,
      ...(stringMask === undefined ? {} : { stringMask }),
    }),
  }
}

function pathOf(leaf: Buffer, between: readonly Buffer[], root: Buffer, now: Date) {
  const anchor = parseCertificate(root)
  const anchors = { fingerprints: new Set([anchor.fingerprint]), pool: bySubject([anchor]) }
  const presented = between.map((der) => parseCertificate(der))
  return validatePath(parseCertificate(leaf), presented, anchors, now)
}

function verdictOf({ leaf, between, root }: Chain): string {
  const ders = between.map(({ der }) => der)
  try {
    return `a path of ${pathOf(leaf.der, ders, root.der, new Date()).length}`
  } catch (error) {
    return codeOf(error)
  }
}

describe('name constraints (RFC 5280 4.2.1.10)', () => {
  const pki = opensslPki()

  test.each(Object.entries(CASES))('%s', (_, it) => {
    const chain = chainOf(pki, it)
    const openssl = pki.verifies(chain.leaf, chain.between, chain.root)
    expect({ ours: verdictOf(chain), openssl }).toEqual({
      ours: it.refused ?? `a path of ${it.constraints.length + 2}`,
      openssl: it.refused === undefined || it.stricter !== undefined,
    })
  })
})

/** With the extension as it is: what openssl would not write. */
describe('hostile name constraints', () => {
  const KEY = spkiOf(newKey())
  const under = (constraints: string, san?: string, subject = 'TPM') => {
    const root = makeAuthority('Root', {
      extensions: [...CA_EXTENSIONS, ext.raw('2.5.29.30', constraints)],
    })
    const extensions =
      san === undefined
        ? EK_EXTENSIONS
        : [...EK_EXTENSIONS.filter(({ oid }) => oid !== '2.5.29.17'), ext.raw('2.5.29.17', san)]
    const leaf = makeEkCertificate(root, KEY, { extensions, subject })
    return () => pathOf(leaf, [], root.der, NOW)
  }
  const refused = (...asked: Parameters<typeof under>) => detailOf(under(...asked))
  const PERMITTED = '3009 a007 3005 8203 612e62'
  /** Another host than a.b, which is permitted. */
  const ANOTHER = '3005 8203 632e64'
  const FOUND_ANOTHER = `${OUTSIDE} Found: a dNSName that is not permitted.`
  const SUBTREE = '3003 820161'
  const WHAT = 'permittedSubtrees or excludedSubtrees'
  test.each([
    ['nothing in it', '3000', WHAT],
    ['no subtrees', '3002 a000', 'empty subtrees'],
    ['no subtrees beside others', `3009 a005 ${SUBTREE} a100`, 'empty subtrees'],
    ['excluded before permitted', `300e a105 ${SUBTREE} a005 ${SUBTREE}`, WHAT],
    ['permitted twice', `300e a005 ${SUBTREE} a005 ${SUBTREE}`, WHAT],
    ['excluded twice', `300e a105 ${SUBTREE} a105 ${SUBTREE}`, WHAT],
    ['three', `3015 a005 ${SUBTREE} a105 ${SUBTREE} a105 ${SUBTREE}`, WHAT],
    ['a minimum', '300a a008 3006 820161 800101', 'a subtree with bounds'],
    ['a maximum', '300a a008 3006 820161 810101', 'a subtree with bounds'],
    ['a subtree without a base', '3004 a002 3000', 'a subtree with bounds'],
    ['something else in it', '3004 a202 0500', WHAT],
    ['no sequence', '0500', WHAT],
    ['a set', `3107 a005 ${SUBTREE}`, WHAT],
  ])('%s: malformed', (_, constraints, what) => {
    expect(refused(constraints)).toBe(`VERIFY_CERTIFICATE nameConstraints is malformed: ${what}.`)
  })

  test.each([
    ['a name of no form', '3007 a005 3003 890161'],
    ['an empty directoryName element', '3006 a004 3002 a400'],
  ])('%s: malformed', (_, constraints) => {
    expect(refused(constraints)).toBe('VERIFY_CERTIFICATE GeneralName is malformed.')
  })

  test('of what is no authority', () => {
    const root = makeAuthority('Root')
    const constraints = ext.raw('2.5.29.30', PERMITTED)
    const leaf = makeEkCertificate(root, KEY, { extensions: [...EK_EXTENSIONS, constraints] })
    expect(detailOf(() => pathOf(leaf, [], root.der, NOW))).toBe(
      `${NOT_UNDERSTOOD} Found: name constraints of no authority.`,
    )
  })

  test('hold though they are not critical, and on the anchor', () => {
    expect(refused(PERMITTED, ANOTHER)).toBe(FOUND_ANOTHER)
    expect(under(PERMITTED, '3005 8203 612e62')()).toHaveLength(2)
  })

  test('have names read, which nobody reads where there are none', () => {
    const root = makeAuthority('Root')
    const leaf = makeEkCertificate(root, KEY, { extensions: [ext.raw('2.5.29.17', '0500')] })
    expect(pathOf(leaf, [], root.der, NOW)).toHaveLength(2)
    expect(refused(PERMITTED, '0500')).toBe('VERIFY_CERTIFICATE GeneralName is malformed.')
  })

  test('hold where they only exclude', () => {
    const excluded = '3009 a107 3005 8203 632e64'
    expect(refused(excluded, ANOTHER)).toBe(`${OUTSIDE} Found: a dNSName that is excluded.`)
    expect(under(excluded, '3005 8203 612e62')()).toHaveLength(2)
  })

  test('hold for what is no authority though it is of the same name as its issuer', () => {
    // RFC 5280 6.1.3 (b) leaves out what is self-issued, unless it is the last of the path.
    expect(refused(PERMITTED, ANOTHER, 'Root')).toBe(FOUND_ANOTHER)
    expect(under(PERMITTED, '3005 8203 612e62', 'Root')()).toHaveLength(2)
  })

  test('names and subtrees are bounded: 4096 comparisons, and not one more', () => {
    // The subject, and names beside it, times 64 subtrees.
    const names = (count: number) => der(0x30, '8203612e62'.repeat(count)).toString('hex')
    const permitted = der(0xa0, '30058203612e62'.repeat(24))
    const excluded = der(0xa1, '30058203632e64'.repeat(40))
    const constraints = der(0x30, permitted, excluded).toString('hex')
    expect(under(constraints, names(63))()).toHaveLength(2)
    expect(refused(constraints, names(64))).toBe(`${NOT_UNDERSTOOD} Found: too many names.`)
  })
})
