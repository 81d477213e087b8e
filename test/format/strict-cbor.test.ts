import { describe, expect, test } from 'vitest'
import { CborTagged, encodeCbor, parseStrictCbor } from '../../src/format/strict-cbor.ts'

/** CBOR that has one reading, and all that has another. Bytes are of RFC 8949's appendices where they can be. */

const parse = (hex: string, ...tags: number[]) => parseStrictCbor(Buffer.from(hex, 'hex'), ...tags)

test('what it makes it reads', () => {
  const value = new Map<unknown, unknown>([
    ['b', [1, -7, 65_536, -70_000, 2 ** 33]],
    [1, Uint8Array.of(1, 2)],
    [-1, new Map([[256, 'ü']])],
    ['a', new CborTagged(61, null)],
  ])
  expect(parseStrictCbor(encodeCbor(value), 61)).toEqual(value)
})

describe('refused', () => {
  test.each([
    ['nothing', ''],
    ['something behind it', '0100'],
    ['a number of more bytes than it needs', '1801'],
    ['a length of more bytes than it needs', '5900010a'],
    ['a tag of more bytes than it needs', 'd9003d00'],
    ['an array without a length', '9f01ff'],
    ['a map without a length', 'bf0102ff'],
    ['text without a length', '7f6161ff'],
    ['bytes without a length', '5f4100ff'],
    ['a break', 'ff'],
    ['a key twice', 'a201020103'],
    ['a key of bytes twice', 'a2410101410102'],
    ['a key that is an array, within', '81a18000'],
    ['a number as float', 'f93c00'],
    ['a float of more bytes than it needs', 'fb3ff8000000000000'],
    ['not a number, spelled otherwise', 'f97e01'],
    ['undefined', 'f7'],
    ['text that is not UTF-8', '61ff'],
    ['a tag that nobody asked for', 'c100'],
    ['an end within', '8201'],
    ['text longer than all', '7bffffffffffffffff61'],
    ['an array longer than all', '9bffffffffffffffff00'],
    ['a reserved head', '1c'],
    ['arrays within arrays', `${'81'.repeat(60_000)}00`],
    ['maps within maps', `${'a100'.repeat(60_000)}00`],
    ['tags within tags', `${'d83d'.repeat(60_000)}00`],
    ['arrays within arrays, without an end', '82'.repeat(60_000)],
  ])('%s', (_, hex) => {
    expect(() => parse(hex, 61)).toThrow(expect.objectContaining({ code: 'VERIFY_FORMAT' }))
  })
})

test('eight levels are read, beside others that are wide', () => {
  const deep = `${'81'.repeat(7)}83808000`
  expect(() => parse(deep)).not.toThrow()
  expect(() => parse(`81${deep}`)).toThrow()
  const many = Array.from({ length: 1000 }, () => [[], new Map([[1, []]])])
  expect(parseStrictCbor(encodeCbor(many))).toEqual(many)
})
