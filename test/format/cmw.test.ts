import { describe, expect, test } from 'vitest'
import { EVIDENCE_MEDIA_TYPE, unwrapDocument, wrapDocument } from '../../src/format/cmw.ts'
import { EVIDENCE_BYTES_MAX } from '../../src/format/evidence.ts'
import { CborTagged, encodeCbor } from '../../src/format/strict-cbor.ts'
import { inPython } from '../harness/python-result.ts'

/** Evidence in a wrapper of RFC 9999, and what looks like one. */

const DOCUMENT = Buffer.from('{"format":"metabind evidence"}')
const VALUE = DOCUMENT.toString('base64url')
const json = (value: unknown) => Buffer.from(JSON.stringify(value))
const refused = (code: string) => expect.objectContaining({ code })

describe.each(['cmw-json', 'cmw-cbor'] as const)('%s', (wrapper) => {
  test('what is wrapped is what comes out', () => {
    expect(Buffer.from(unwrapDocument(wrapDocument(DOCUMENT, wrapper)))).toEqual(DOCUMENT)
  })
})

test('as RFC 9999 has it: an array of type and value', () => {
  expect(JSON.parse(wrapDocument(DOCUMENT, 'cmw-json').toString())).toEqual([
    'application/vnd.metabind.evidence+json',
    VALUE,
  ])
  const cbor = wrapDocument(DOCUMENT, 'cmw-cbor')
  const type = Buffer.from(EVIDENCE_MEDIA_TYPE)
  expect(cbor).toEqual(
    Buffer.concat([Buffer.from([0x82, 0x78, 38]), type, Buffer.from([0x58, 30]), DOCUMENT]),
  )
})

test('python3-cbor2 reads it, and what it makes is read here', () => {
  const record = wrapDocument(DOCUMENT, 'cmw-cbor').toString('hex')
  const value = DOCUMENT.toString('hex')
  expect(inPython({ do: 'read-cmw', record })).toEqual([EVIDENCE_MEDIA_TYPE, value])
  const made = inPython({ do: 'make-cmw', type: EVIDENCE_MEDIA_TYPE, value })
  expect(made).toBe(record)
})

test('the indicator may say Evidence, too', () => {
  for (const record of [
    json([EVIDENCE_MEDIA_TYPE, VALUE, 4]),
    encodeCbor([EVIDENCE_MEDIA_TYPE, DOCUMENT, 4]),
    Buffer.from(` \n${JSON.stringify([EVIDENCE_MEDIA_TYPE, VALUE])}\n`),
  ]) {
    expect(Buffer.from(unwrapDocument(record))).toEqual(DOCUMENT)
  }
})

test('what is in no wrapper stays as it is, whatever it is', () => {
  for (const bytes of [DOCUMENT, Buffer.alloc(0), Buffer.from('\ufeff[]'), Buffer.from([0xff])]) {
    expect(unwrapDocument(bytes)).toBe(bytes)
  }
})

describe('refused', () => {
  const collection = new Map([['a', [EVIDENCE_MEDIA_TYPE, DOCUMENT]]])
  test.each<[string, Buffer]>([
    ['another type', json(['application/eat+jwt', VALUE])],
    ['another spelling of the type', json([EVIDENCE_MEDIA_TYPE.toUpperCase(), VALUE])],
    ['a type with a parameter', json([`${EVIDENCE_MEDIA_TYPE}; a=b`, VALUE])],
    ['the number of a content format', encodeCbor([65_000, DOCUMENT])],
    ['results of attestation', json([EVIDENCE_MEDIA_TYPE, VALUE, 8])],
    ['evidence and something more', json([EVIDENCE_MEDIA_TYPE, VALUE, 12])],
    ['no bit at all', encodeCbor([EVIDENCE_MEDIA_TYPE, DOCUMENT, 0])],
    ['a bit that is not registered', encodeCbor([EVIDENCE_MEDIA_TYPE, DOCUMENT, 2 ** 31])],
    ['a value that is no text', json([EVIDENCE_MEDIA_TYPE, [VALUE]])],
    ['a value with padding', json([EVIDENCE_MEDIA_TYPE, `${VALUE}=`])],
    ['a value in the other alphabet', json([EVIDENCE_MEDIA_TYPE, '+/+/'])],
    ['text in place of bytes', encodeCbor([EVIDENCE_MEDIA_TYPE, VALUE])],
    ['one member', json([EVIDENCE_MEDIA_TYPE])],
    ['four members', json([EVIDENCE_MEDIA_TYPE, VALUE, 4, 4])],
    ['a record within a record', json([[EVIDENCE_MEDIA_TYPE, VALUE]])],
    ['a collection in CBOR', encodeCbor(collection)],
    ['a collection without a length', Buffer.from('bf6161820000ff', 'hex')],
    ['a tag', encodeCbor(new CborTagged(1_668_576_818, DOCUMENT))],
    ['an array without a length', Buffer.from('9f60ff', 'hex')],
    ['something behind it', Buffer.concat([wrapDocument(DOCUMENT, 'cmw-cbor'), Buffer.of(0)])],
    ['something behind it in JSON', Buffer.from(`${json([EVIDENCE_MEDIA_TYPE, VALUE])}[]`)],
    ['a longer length than it needs', Buffer.from('9800', 'hex')],
    ['arrays within arrays', Buffer.alloc(60_000, '[')],
    ['arrays within arrays in CBOR', Buffer.alloc(60_000, 0x82)],
  ])('%s', (_, bytes) => {
    expect(() => unwrapDocument(bytes)).toThrow(refused('VERIFY_WRAPPER'))
  })

  test('more than any document is', () => {
    const long = Buffer.alloc(EVIDENCE_BYTES_MAX + 1, 'x')
    for (const wrapper of ['cmw-json', 'cmw-cbor'] as const) {
      const longer = Buffer.concat([
        wrapDocument(long, wrapper),
        Buffer.alloc(EVIDENCE_BYTES_MAX, ' '),
      ])
      expect(() => unwrapDocument(longer)).toThrow(refused('VERIFY_SIZE'))
      // Its length is looked at again as that of a document.
      expect(unwrapDocument(wrapDocument(long, wrapper))).toHaveLength(long.length)
    }
  })
})
