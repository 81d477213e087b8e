import { describe, expect, test } from 'vitest'
import { parseStrictJson } from '../../src/format/strict-json.ts'
import { refusalOf } from '../harness/verify-case.ts'

const parse = (text: string) => parseStrictJson(Buffer.from(text))
const codeOf = (text: string) => refusalOf(() => parse(text)).code

describe('JSON of one reading', () => {
  test.each([
    '{}',
    '[]',
    'null',
    '"a:b"',
    ' { "a" : { "a" : [ { "a" : 1 } , { "a" : 2 } ] } , "b" : ":" } ',
    '{"\\"a\\":":"\\\\","b":"\\\\\\"{:"}',
    '{"__proto__":{"a":1},"toString":2}',
    '{"ä:":"€:"}',
    '[[[[[[[[]]]]]]]]',
  ])('is what JSON.parse makes of it: %s', (text) => {
    expect(parse(text)).toEqual(JSON.parse(text))
  })

  test.each([
    ['a member twice', '{"a":1,"a":1}'],
    ['a member twice, inside', '{"b":[{"a":1,"c":2,"a":3}]}'],
    ['a member twice, once escaped', '{"a":1,"\\u0061":2}'],
    ['a prototype twice', '{"__proto__":1,"__proto__":2}'],
    ['a byte order mark', '\ufeff{}'],
    ['nested nine deep', '[[[[[[[[[]]]]]]]]]'],
    ['text behind', '{}{}'],
    ['nothing', ''],
  ])('refused: %s', (_, text) => {
    expect(codeOf(text)).toBe('VERIFY_FORMAT')
  })

  test.each([
    ['bytes that are not UTF-8', Buffer.from('7b2261223a22ff227d', 'hex')],
    ['UTF-16', Buffer.from('{}', 'utf16le')],
  ])('refused: %s', (_, bytes) => {
    expect(refusalOf(() => parseStrictJson(bytes)).code).toBe('VERIFY_FORMAT')
  })
})
