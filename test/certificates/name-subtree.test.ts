import { describe, expect, test } from 'vitest'
import { parseDer } from '../../src/certificates/der.ts'
import { generalNameOf } from '../../src/certificates/general-names.ts'
import { isInSubtree } from '../../src/certificates/name-subtree.ts'
import { der } from '../harness/crl.ts'
import { rdn, rdnSequence } from '../harness/names.ts'
import { detailOf } from '../harness/verify-case.ts'

/** Whether a name is in a subtree (RFC 5280 4.2.1.10), name by name; paths are in name-constraints.test.ts. */

const TAGS = { mailbox: 0x81, host: 0x82, uri: 0x86, address: 0x87 }
type Form = keyof typeof TAGS

const nameOf = (form: Form, content: string) =>
  generalNameOf(
    parseDer(der(TAGS[form], form === 'address' ? content : Buffer.from(content, 'latin1'))),
  )
const isIn = (form: Form, name: string, base: string, isExcluded = false) =>
  isInSubtree(nameOf(form, name), nameOf(form, base), isExcluded)
const refused = (form: Form, name: string, base: string) =>
  detailOf(() => isIn(form, name, base, true))
const notUnderstood = (what: string) =>
  `VERIFY_CERTIFICATE_EXTENSION Under name constraints, not understood: ${what}.`

const LABEL_63 = 'a'.repeat(63)
const HOST_253 = [LABEL_63, LABEL_63, LABEL_63, 'b'.repeat(61)].join('.')

describe('a host', () => {
  test.each([
    ['example.com', 'example.com'],
    ['a.example.com', 'example.com'],
    ['A.Example.COM', 'eXAMPLE.com'],
    ['example.com', ''],
    ['a-b.x--y.com', 'x--y.com'],
    ['_tpm.example.com', 'example.com'],
    ['x_', 'x_'],
    ['1.2.3.4', '4'],
    [HOST_253, 'b'.repeat(61)],
  ])('%s is in %s', (name, base) => {
    expect(isIn('host', name, base)).toBe(true)
  })

  test.each([
    ['anexample.com', 'example.com'],
    ['example.com', 'a.example.com'],
    ['example.com.org', 'example.com'],
    ['example.org', 'example.com'],
  ])('%s is not in %s', (name, base) => {
    expect(isIn('host', name, base)).toBe(false)
  })

  const NONE = [
    ['', 'nothing'],
    ['*.example.com', 'a wildcard'],
    ['example.com.', 'a closing dot'],
    ['a..b', 'an empty label'],
    ['-a.b', 'a hyphen first'],
    ['a-.b', 'a hyphen last'],
    ['a b', 'a blank'],
    ['é.example.com', 'what is no ASCII'],
    [`${LABEL_63}a.b`, 'a label of 64'],
    [`${HOST_253}b`, '254 characters'],
  ] as const
  test.each(NONE)('%s is not understood: %s', (name) => {
    expect(refused('host', name, 'example.com')).toBe(notUnderstood('a host name'))
    expect(refused('host', name, '')).toBe(notUnderstood('a host name'))
  })
  test.each(NONE.slice(1))('%s is no base: %s', (base) => {
    expect(refused('host', 'example.com', base)).toBe(notUnderstood('a host name'))
  })

  test('a base that begins with a dot is none: that is the form of URIs', () => {
    expect(refused('host', 'a.example.com', '.example.com')).toBe(notUnderstood('a host name'))
  })
})

describe('a mailbox', () => {
  test.each([
    ['tpm@example.com', 'tpm@example.com', true],
    ['tpm@Example.com', 'tpm@eXample.com', true],
    ['TPM@example.com', 'tpm@example.com', false],
    ['tpm@example.org', 'tpm@example.com', false],
    ['tpm@example.com', 'example.com', true],
    ['tpm@a.example.com', 'example.com', false],
    ['tpm@a.example.com', '.example.com', true],
    ['tpm@a.Example.com', '.eXample.com', true],
    ['tpm@example.com', '.example.com', false],
    ['tpm@anexample.com', '.example.com', false],
  ])('%s in %s: %s', (name, base, expected) => {
    expect(isIn('mailbox', name, base)).toBe(expected)
  })

  test.each([
    ['', 'rfc822Name'],
    ['example.com', 'rfc822Name'],
    ['@example.com', 'rfc822Name'],
    ['a@b@example.com', 'rfc822Name'],
    ['"a@b"@example.com', 'rfc822Name'],
    ['"a"@example.com', 'rfc822Name'],
    ['a\\b@example.com', 'rfc822Name'],
    ['a b@example.com', 'rfc822Name'],
    ['tpm@', 'a host name'],
    ['tpm@[192.0.2.1]', 'a host name'],
  ])('%s is not understood', (name, what) => {
    expect(refused('mailbox', name, 'example.com')).toBe(notUnderstood(what))
  })

  test.each([
    ['@example.com', 'rfc822Name'],
    ['a@b@example.com', 'rfc822Name'],
    ['', 'a host name'],
    ['.', 'a host name'],
    ['..example.com', 'a host name'],
    ['*.example.com', 'a host name'],
  ])('%s is no base', (base, what) => {
    expect(refused('mailbox', 'tpm@example.com', base)).toBe(notUnderstood(what))
  })
})

describe('a URI', () => {
  test.each([
    ['http://example.com', 'example.com', true],
    ['HTTP://Example.com/', 'eXample.com', true],
    ['a1+.-b://example.com?q', 'example.com', true],
    ['a://example.com#f', 'example.com', true],
    ['http://example.com:8080/a:b@c', 'example.com', true],
    ['http://example.com:', 'example.com', true],
    ['http://user:word@example.com/', 'example.com', true],
    ['http://example.org@example.com/', 'example.org', false],
    ['http://a.example.com/', 'example.com', false],
    ['http://a.example.com/', '.example.com', true],
    ['http://example.com/', '.example.com', false],
    ['http://example.org/example.com', 'example.com', false],
    ['http://1a.example.a1/', 'example.com', false],
    ['http://192.0.2.1.example.com/', '.example.com', true],
  ])('%s in %s: %s', (name, base, expected) => {
    expect(isIn('uri', name, base)).toBe(expected)
  })

  test.each([
    ['', 'it has no host'],
    ['urn:uuid:1', 'it has no host'],
    ['http:/example.com', 'it has no host'],
    ['http:///example.com', 'it has no host'],
    ['//example.com', 'it has no scheme'],
    ['1a://example.com', 'no scheme begins with a digit'],
    [' http://example.com', 'a blank'],
    ['http://exam ple.com', 'a blank'],
    ['http://a b@example.com', 'a blank'],
    ['http://a@b@example.com', 'two users'],
    ['http://example.org\\@example.com', 'a backslash, which is a slash for browsers'],
    ['http://[2001:db8::1]/', 'an address in brackets'],
    ['http://example.com:80x/', 'no port'],
    ['http://example.com:80:80/', 'two ports'],
  ])('%s is not understood: %s', (name) => {
    expect(refused('uri', name, 'example.com')).toBe(notUnderstood('the host of a URI'))
  })

  test.each(['http://example.com./', 'http://%65xample.com/', 'http://*.example.com/'])(
    '%s is not understood: its host is no name',
    (name) => {
      expect(refused('uri', name, 'example.com')).toBe(notUnderstood('a host name'))
    },
  )

  test.each(['http://192.0.2.1/', 'http://3221225985/', 'http://1/', 'http://a.1:80/'])(
    '%s is not understood: its host is an address',
    (name) => {
      expect(refused('uri', name, 'example.com')).toBe(notUnderstood('an address in a URI'))
    },
  )

  test.each(['', '.', '*.example.com', 'http://example.com'])('%s is no base', (base) => {
    expect(refused('uri', 'http://example.com', base)).toBe(notUnderstood('a host name'))
  })
})

describe('an address', () => {
  const V6 = '20010db8 00000000 00000000 00000001'
  const V6_MASK = 'ffffffff 00000000 00000000 00000000'
  test.each([
    ['in a network', 'c000024d', 'c0000200 ffffff00', true],
    ['in another', 'c000034d', 'c0000200 ffffff00', false],
    ['within the last byte', 'c0000247', 'c0000240 fffffff8', true],
    ['beyond it within the last byte', 'c0000248', 'c0000240 fffffff8', false],
    ['itself', 'c000024d', 'c000024d ffffffff', true],
    ['beside itself', 'c000024c', 'c000024d ffffffff', false],
    ['in all', 'c000024d', '00000000 00000000', true],
    ['in one whose host bits are set', 'c000024d', 'c00002ff ffffff00', true],
    ['of IPv6, in a network', V6, `20010db8 ffffffff ffffffff ffffffff ${V6_MASK}`, true],
    ['of IPv6, in another', V6, `20010db9 00000000 00000000 00000000 ${V6_MASK}`, false],
    ['of IPv6, where all of IPv4 is', V6, '00000000 00000000', false],
    ['of IPv4, where all of IPv6 is', 'c000024d', '00'.repeat(32), false],
  ])('%s', (_what, name, base, expected) => {
    expect(isIn('address', name, base)).toBe(expected)
  })

  test.each([0, 3, 5, 8, 15, 17, 32])('of %i bytes is not understood', (bytes) => {
    const understood = notUnderstood('iPAddress')
    expect(refused('address', '01'.repeat(bytes), 'c0000200 ffffff00')).toBe(understood)
  })

  test.each([0, 4, 7, 9, 16, 31, 33, 64])('a network of %i bytes is not understood', (bytes) => {
    expect(refused('address', 'c000024d', '00'.repeat(bytes))).toBe(notUnderstood('iPAddress'))
  })

  test.each([
    ['between bytes', 'c0000200 00ffffff'],
    ['in the middle of one', 'c0000200 ffffff05'],
    ['at the beginning of one', 'c0000200 ff0f0000'],
    ['though the address is of the other version', `${'00'.repeat(16)} ${'00'.repeat(15)}ff`],
  ])('a mask with a gap %s is not understood (RFC 4632)', (_where, base) => {
    expect(refused('address', 'c000024d', base)).toBe(notUnderstood('a mask with gaps'))
  })
})

describe('a directory name', () => {
  const directory = (...rdns: Buffer[]) => generalNameOf(parseDer(der(0xa4, rdnSequence(...rdns))))
  const [A, B, B_TELETEX] = [rdn('a'), rdn('b'), rdn('b', 0x14)]

  test.each([
    ['itself', [A, B], [A, B], true],
    ['what begins like it', [A, B], [A], true],
    ['everything', [A], [], true],
    ['what is longer', [A], [A, B], false],
    ['what ends like it', [A, B], [B], false],
  ])('is in %s, or not', (_what, name, base, expected) => {
    const isInIt = [true, false].map((isExcluded) =>
      isInSubtree(directory(...name), directory(...base), isExcluded),
    )
    expect(isInIt).toEqual([expected, expected])
  })

  test('of another string type is in what is excluded, and not in what is permitted', () => {
    expect(isInSubtree(directory(B_TELETEX), directory(B), true)).toBe(true)
    expect(isInSubtree(directory(B_TELETEX), directory(B), false)).toBe(false)
  })
})

test.each([
  ['otherName', der(0xa0, der(0x06, '2a03'))],
  ['x400Address', der(0xa3, der(0x30))],
  ['ediPartyName', der(0xa5)],
  ['registeredID', der(0x88, '2a03')],
])('names of the form %s are not understood', (form, bytes) => {
  const name = generalNameOf(parseDer(bytes))
  expect(detailOf(() => isInSubtree(name, name, true))).toBe(notUnderstood(form))
})

test.each([
  ['host', 'address'],
  ['address', 'host'],
] as const)('a %s is in nothing of the form of an %s', (form, other) => {
  const base = nameOf(other, '7f000001 ffffffff')
  const names = [nameOf(form, '7f000001'), generalNameOf(parseDer(der(0xa4, rdnSequence())))]
  for (const name of names) {
    expect(detailOf(() => isInSubtree(name, base, true))).toBe(notUnderstood(name.form))
    expect(detailOf(() => isInSubtree(base, name, true))).toBe(notUnderstood(base.form))
  }
})
