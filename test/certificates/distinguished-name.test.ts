import { describe, expect, test } from 'vitest'
import { parseDer } from '../../src/certificates/der.ts'
import {
  comparableName,
  looselyComparableRdns,
  readableName,
} from '../../src/certificates/distinguished-name.ts'
import { der } from '../harness/crl.ts'
import { ATTRIBUTE_OIDS, nameAttribute, rdn, rdnSequence } from '../harness/names.ts'

/** Names of certificates: as people read them, and which of them are the same (RFC 5280 7.1). */

const CN = ATTRIBUTE_OIDS.commonName
const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
const nameOf = (...rdns: Buffer[]) => parseDer(rdnSequence(...rdns))
/** One attribute whose members are these. */
const attributeOf = (...members: Buffer[]) => der(0x31, der(0x30, ...members))

describe('a readable name', () => {
  test.each([
    ['UTF8String', 0x0c, hex('c3a9'), 'é'],
    ['NumericString', 0x12, hex('34 32'), '42'],
    ['PrintableString', 0x13, hex('41'), 'A'],
    ['TeletexString, by byte', 0x14, hex('e9'), 'é'],
    ['IA5String', 0x16, hex('61 40 62'), 'a@b'],
    ['VisibleString', 0x1a, hex('7e'), '~'],
    ['UniversalString', 0x1c, hex('000000e9 0001f600'), 'é😀'],
    ['UniversalString to the last code point', 0x1c, hex('0010ffff'), '\u{10ffff}'],
    ['UniversalString beyond the last code point', 0x1c, hex('00110000 00000041'), '\ufffdA'],
    ['BMPString', 0x1e, hex('00e9 0042'), 'éB'],
    ['BMPString that ends within a character', 0x1e, hex('0041 00'), 'A'],
    ['no string: its bytes', 0x04, hex('80ff'), '#80ff'],
  ])('has text of %s', (_type, tag, value, text) => {
    expect(readableName(nameOf(rdn(value, tag)))).toBe(`CN=${text}`)
  })

  test('has the short names of RFC 4514, in the order of the certificate', () => {
    const types = ['550406', '550408', '550407', '55040a', '55040b', CN, '550405']
    const name = nameOf(...types.map((type, at) => rdn(String(at), 0x0c, type)))
    expect(readableName(name)).toBe('C=0, ST=1, L=2, O=3, OU=4, CN=5, serialNumber=6')
  })

  test('has the attributes of one RDN together, and an OID without a short name in hex', () => {
    const both = der(0x31, nameAttribute(CN, 0x0c, 'a'), nameAttribute('67810502 01', 0x0c, 'b'))
    expect(readableName(nameOf(rdn('x'), both))).toBe('CN=x, CN=a + #6781050201=b')
  })

  test('says nothing where nothing stands', () => {
    expect(readableName(nameOf())).toBe('')
    expect(readableName(nameOf(attributeOf(der(0x06, CN))))).toBe('CN=#')
    expect(readableName(nameOf(attributeOf()))).toBe('#=#')
  })
})

type Pair = readonly [title: string, one: Buffer, other: Buffer]

const SAME: Pair[] = [
  ['UTF8String and PrintableString', rdn('TPM CA'), rdn('TPM CA', 0x13)],
  ['upper and lower case', rdn('TPM É'), rdn('tpm é')],
  ['blanks around, and more than one', rdn(' TPM  CA '), rdn('TPM CA')],
  ['forms of compatibility', rdn('ﬁrm'), rdn('firm')],
  [
    'the order of attributes in one RDN',
    der(0x31, nameAttribute(CN, 0x0c, 'a'), nameAttribute('55040a', 0x0c, 'b')),
    der(0x31, nameAttribute('55040a', 0x0c, 'b'), nameAttribute(CN, 0x0c, 'a')),
  ],
]

const OTHERS: Pair[] = [
  ['another text', rdn('a'), rdn('b')],
  ['a blank and none', rdn('a b'), rdn('ab')],
  ['an i without its dot', rdn('ı'), rdn('i')],
  ['another attribute', rdn('a'), rdn('a', 0x0c, '55040a')],
  ['bytes that are no text', rdn(hex('01'), 0x04), rdn(hex('02'), 0x04)],
  ['bytes and their text in hex', rdn(hex('80'), 0x04), rdn('040180')],
  ['a value and none', rdn('a'), attributeOf(der(0x06, CN))],
  ['an empty value and none', rdn(''), attributeOf(der(0x06, CN))],
  ['an attribute and none', attributeOf(der(0x06, CN)), attributeOf()],
  ['two attributes, and one that quotes itself', rdn('a'), rdn('a","550403 \\"b')],
]

const LOOSELY_SAME: Pair[] = [
  ['TeletexString', rdn('é'), rdn(hex('e9'), 0x14)],
  ['IA5String', rdn('a'), rdn('a', 0x16)],
  ['VisibleString', rdn('a'), rdn('a', 0x1a)],
  ['NumericString', rdn('1'), rdn('1', 0x12)],
  ['UniversalString', rdn('é'), rdn(hex('000000e9'), 0x1c)],
  ['BMPString', rdn('é'), rdn(hex('00e9'), 0x1e)],
]

const isSame = (one: Buffer, other: Buffer) =>
  comparableName(nameOf(one)) === comparableName(nameOf(other))
const isLooselySame = (one: Buffer, other: Buffer) =>
  looselyComparableRdns(nameOf(one))[0] === looselyComparableRdns(nameOf(other))[0]

describe('two names', () => {
  test.each(SAME)('are the same but for %s', (_, one, other) => {
    expect([isSame(one, other), isLooselySame(one, other)]).toEqual([true, true])
  })

  test.each(OTHERS)('are not the same: %s', (_, one, other) => {
    expect([isSame(one, other), isLooselySame(one, other)]).toEqual([false, false])
  })

  test.each(LOOSELY_SAME)('are the same in a %s only where none may be named', (_, one, other) => {
    expect([isSame(one, other), isLooselySame(one, other)]).toEqual([false, true])
  })

  test('are not the same in another order of RDNs, nor in one RDN instead of two', () => {
    const one = comparableName(nameOf(rdn('a'), rdn('b')))
    const together = der(0x31, nameAttribute(CN, 0x0c, 'a'), nameAttribute(CN, 0x0c, 'b'))
    expect(comparableName(nameOf(rdn('a'), rdn('b')))).toBe(one)
    expect(comparableName(nameOf(rdn('b'), rdn('a')))).not.toBe(one)
    expect(comparableName(nameOf(together))).not.toBe(one)
  })
})
