import { generateKeyPairSync, sign } from 'node:crypto'
import { expect, test } from 'vitest'
import { CborTagged, encodeCbor, parseStrictCbor } from '../../src/format/strict-cbor.ts'
import { verifyResult } from '../../src/verify/index.ts'
import { demandsOf, resultCase, resultOf } from '../harness/result-case.ts'
import { genuineCaseOfFile, NOW, refusalOf } from '../harness/verify-case.ts'

/** CBOR Web Tokens of other forms, and what a JSON Web Token could say as well: both are judged alike. */

const { verified, nonce } = resultCase(await genuineCaseOfFile())
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const seconds = NOW.getTime() / 1000

type Claims = Map<unknown, unknown>
const statusOf = (token: Uint8Array) => verifyResult(token, demandsOf(nonce, publicKey)).status
const refused = (token: Uint8Array) => refusalOf(() => statusOf(token))

const genuine = resultOf(verified, nonce, privateKey, { format: 'cwt' })
const parts = ((parseStrictCbor(genuine, 61, 18) as CborTagged).value as CborTagged)
  .value as Uint8Array[]
const [protectedBytes = Buffer.of(), , payloadBytes = Buffer.of()] = parts
const tagged = (value: unknown) => encodeCbor(new CborTagged(61, new CborTagged(18, value)))
const withPart = (at: number, value: unknown) => tagged(parts.with(at, value as Uint8Array))
const claimsOf = () => parseStrictCbor(payloadBytes) as Claims
const appraisalIn = (all: Claims) => (all.get(266) as Claims).get('metabind') as Claims

function signedOf(payload: unknown, header: Uint8Array = protectedBytes): Buffer {
  const bytes = encodeCbor(payload)
  const toSign = encodeCbor(['Signature1', header, new Uint8Array(), bytes])
  const signature = sign('sha256', toSign, { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return tagged([header, new Map(), bytes, signature])
}

test('each claim has the number of its registry, and none has its name', () => {
  const all = claimsOf()
  const keysOf = (claims: Claims) => [...claims.keys()].map(String).toSorted()
  expect(keysOf(all)).toEqual(['10', '1000', '1004', '265', '266', '4', '6'])
  expect(keysOf(appraisalIn(all))).toEqual(['10', '1000', '1001', '1003', '1005', '1006', '265'])
  expect(keysOf(all.get(1004) as Claims)).toEqual(['0', '1'])
  expect((appraisalIn(all).get(1005) as Claims).has(256)).toBe(true)
})

test.each([
  ['header', 0],
  ['claims', 2],
  ['signature', 3],
])('%s as text', (_, at) => {
  expect(refused(withPart(at, 'x'.repeat(64))).code).toBe('VERIFY_RESULT')
})

test.each([
  ['nothing within its tags', tagged(null)],
  ['nothing within its outer tag', encodeCbor(new CborTagged(61, null))],
  [
    'its outer tag in place of its inner one',
    encodeCbor(new CborTagged(61, new CborTagged(61, parts))),
  ],
  ['a part less', tagged(parts.slice(0, 3))],
  ['a map in place of its parts', tagged(new Map(parts.entries()))],
])('%s', (_, token) => {
  expect(refused(token).code).toBe('VERIFY_RESULT')
})

const headerWith = (kid: unknown) =>
  encodeCbor(new Map<unknown, unknown>([...(parseStrictCbor(protectedBytes) as Claims), [4, kid]]))

test('a name of its key of up to 256 bytes', () => {
  expect(statusOf(signedOf(claimsOf(), headerWith(Buffer.alloc(256))))).toBe('affirming')
  for (const kid of [Buffer.alloc(257), 'x', 1]) {
    expect(refused(signedOf(claimsOf(), headerWith(kid))).code).toBe('VERIFY_RESULT')
  }
})

test('16 KiB, and not a byte more', () => {
  const long = (bytes: number) => signedOf(new Map([...claimsOf(), ['more', 'x'.repeat(bytes)]]))
  const rest = long(10_000).length - 10_000
  const most = long(16_384 - rest)
  expect([most.length, statusOf(most)]).toEqual([16_384, 'affirming'])
  expect(refused(long(16_385 - rest)).code).toBe('VERIFY_RESULT')
})

test('pairs in place of a map of claims', () => {
  expect(refused(signedOf([...claimsOf()])).code).toBe('VERIFY_RESULT')
  expect(refused(signedOf(new Map([...claimsOf(), [266, [['metabind', 1]]]]))).code).toBe(
    'VERIFY_RESULT',
  )
})

test.each<[string, (all: Claims) => Claims, unknown]>([
  ['a category that nobody knows', (all) => appraisalIn(all).get(1001) as Claims, 8],
  ['a category by its name', (all) => appraisalIn(all).get(1001) as Claims, 'executables'],
  ['an attester that has a number', (all) => all.get(266) as Claims, 1],
  ['another attester', (all) => all.get(266) as Claims, 'other'],
])('%s is refused as in a JSON Web Token', (_, within, key) => {
  const all = claimsOf()
  within(all).set(key, 96)
  expect(refused(signedOf(all)).code).toBe('VERIFY_RESULT')
})

test('times as a JSON Web Token has them', () => {
  const token = signedOf(new Map([...claimsOf(), [5, seconds + 61]]))
  expect(refused(token).code).toBe('VERIFY_RESULT_CLAIMS')
})
