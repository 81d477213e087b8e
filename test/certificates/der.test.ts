import { describe, expect, test } from 'vitest'
import { derElements, parseDer } from '../../src/certificates/der.ts'
import { der } from '../harness/crl.ts'
import { detailOf } from '../harness/verify-case.ts'

const bytesOf = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex')
const refusalOf = (bytes: Buffer) => detailOf(() => parseDer(bytes))
const MALFORMED = 'VERIFY_CERTIFICATE DER:'

/** X.690 8.1.3 and 10.1: definite lengths, in as few bytes as there can be; three of them are enough here. */
describe('lengths', () => {
  test.each<[string, string, number]>([
    ['none', '0400', 0],
    ['one byte, in the short form', '0401', 1],
    ['127, the longest in the short form', '047f', 127],
    ['128, the shortest in the long form', '048180', 128],
    ['255 in one byte', '0481ff', 255],
    ['256, the shortest in two bytes', '04820100', 256],
    ['65,535 in two bytes', '0482ffff', 65_535],
    ['65,536, the shortest in three bytes', '0483010000', 65_536],
  ])('%s: read', (_, header, length) => {
    const content = Buffer.alloc(length, 7)
    const bytes = Buffer.concat([bytesOf(header), content])
    expect(parseDer(bytes)).toEqual({ tag: 0x04, bytes, content, children: [] })
  })

  test.each<[string, string, number, string]>([
    ['127 in the long form', '04817f', 127, 'a length that is not minimal'],
    ['255 in two bytes', '048200ff', 255, 'a length that is not minimal'],
    ['65,535 in three bytes', '048300ffff', 65_535, 'a length that is not minimal'],
    ['indefinite, as BER has it', '0480', 2, 'an unusable length'],
    ['four bytes of it', '048401000000', 0, 'an unusable length'],
    ['a length of two bytes with one of them', '048201', 0, 'an unusable length'],
    ['a length of one byte, which is not there', '0481', 0, 'an unusable length'],
    ['a whole length, and nothing of the content', '048180', 0, 'truncated'],
    ['all of the content but a byte', '048180', 127, 'truncated'],
    ['a tag alone', '04', 0, 'truncated'],
    ['nothing', '', 0, 'truncated'],
    ['a byte more than the element', '0401', 2, 'bytes follow the end'],
  ])('%s: refused', (_, header, more, why) => {
    const bytes = Buffer.concat([bytesOf(header), Buffer.alloc(more)])
    expect(refusalOf(bytes)).toBe(`${MALFORMED} ${why}.`)
  })
})

describe('values of which another reader may think otherwise', () => {
  test.each<[string, string]>([
    ['a BOOLEAN that is true', '0101ff'],
    ['a BOOLEAN that is false', '010100'],
    ['no bits', '030100'],
    ['eight bits', '030200ff'],
    ['the second bit of eight', '03020002'],
    ['one bit, and seven that are not used', '03020780'],
    ['fifteen bits, and one that is not used', '030301fffe'],
  ])('%s: read', (_, hex) => {
    expect(parseDer(bytesOf(hex)).content).toEqual(bytesOf(hex).subarray(2))
  })

  test.each<[string, string, string]>([
    ['a BOOLEAN of no byte (X.690 8.2.1)', '0100', 'a BOOLEAN of no single byte'],
    ['a BOOLEAN of two bytes', '010200ff', 'a BOOLEAN of no single byte'],
    ['a tag in the high form (X.690 8.1.2.4)', '1f0100', 'a tag of several bytes'],
    ['a constructed tag in the high form', 'bf2000', 'a tag of several bytes'],
    ['a wrong BOOLEAN within a sequence', '30020100', 'a BOOLEAN of no single byte'],
  ])('%s: refused', (_, hex, why) => {
    expect(refusalOf(bytesOf(hex))).toBe(`${MALFORMED} ${why}.`)
  })

  test.each<[string, string]>([
    ['nothing, not even how many bits are not used (X.690 8.6.2.2)', '0300'],
    ['bits that are not used, of none (8.6.2.3)', '030101'],
    ['eight bits that are not used, of eight', '03020800'],
    ['a bit that is set and not used (11.2.1)', '03020101'],
    ['the highest of seven that are not used', '03020740'],
  ])('a BIT STRING with %s: refused', (_, hex) => {
    const why = 'a BIT STRING with other unused bits than zeros'
    expect(refusalOf(bytesOf(hex))).toBe(`${MALFORMED} ${why}.`)
  })
})

describe('what is within', () => {
  const nested = (count: number): Buffer =>
    Array.from({ length: count - 1 }).reduce<Buffer>((within) => der(0x30, within), der(0x30))

  test('elements in their order, of constructed ones only', () => {
    const { children } = parseDer(bytesOf('300b 0500 a003 020101 8002 0500'))
    expect(children.map(({ tag, content }) => [tag, content.toString('hex')])).toEqual([
      [0x05, ''],
      [0xa0, '020101'],
      [0x80, '0500'],
    ])
    expect(children.map((child) => child.children.map(({ tag }) => tag))).toEqual([[], [0x02], []])
  })

  test('seventeen levels are read, and eighteen refused', () => {
    expect(parseDer(nested(17)).bytes).toHaveLength(34)
    expect(refusalOf(nested(18))).toBe(`${MALFORMED} nested deeper than 16.`)
  })

  test('one level alone is read where that is asked, however deep the rest is', () => {
    const elements = [...derElements(Buffer.concat([nested(18), bytesOf('0500')]))]
    expect(elements.map(({ tag, content }) => [tag, content.length])).toEqual([
      [0x30, 34],
      [0x05, 0],
    ])
    expect([...derElements(Buffer.alloc(0))]).toEqual([])
  })
})
