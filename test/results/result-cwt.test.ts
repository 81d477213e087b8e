import { generateKeyPairSync, sign } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { CborTagged, encodeCbor, parseStrictCbor } from '../../src/format/strict-cbor.ts'
import { verifyResult } from '../../src/verify/index.ts'
import { demandsOf, KEY_PAIRS, resultCase, resultOf } from '../harness/result-case.ts'
import { genuineCaseOfFile, refusalOf } from '../harness/verify-case.ts'

/** Attestation results as CBOR Web Tokens. result-python.test.ts has the other party. */

const { verified, provisional, nonce } = resultCase(await genuineCaseOfFile())
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const genuine = resultOf(verified, nonce, privateKey, { format: 'cwt' })

type Claims = Map<unknown, unknown>
const ALG = 1
const CRIT = 2
const TYP = 16
const TYPED: Claims = new Map<unknown, unknown>([
  [ALG, -7],
  [TYP, 'application/eat+cwt'],
])
const codeOf = (token: Uint8Array, more: object = {}) =>
  refusalOf(() => verifyResult(token, { ...demandsOf(nonce, publicKey), ...more })).code

/** The four parts of COSE_Sign1, as they were signed. */
function partsOf(token: Uint8Array): unknown[] {
  const outer = parseStrictCbor(token, 61, 18) as CborTagged
  return (outer.value as CborTagged).value
}

const claims = () => parseStrictCbor(partsOf(genuine)[2] as Uint8Array) as Claims

interface Parts {
  readonly header?: Uint8Array
  readonly unprotected?: Claims
  readonly payload?: Uint8Array
  readonly more?: unknown[]
}

/** A token whose parts the key did sign. */
function signed({
  header = encodeCbor(TYPED),
  unprotected = new Map(),
  payload = encodeCbor(claims()),
  more = [],
}: Parts): unknown[] {
  const bytes = encodeCbor(['Signature1', header, new Uint8Array(), payload])
  const signature = sign('sha256', bytes, { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return [header, unprotected, payload, signature, ...more]
}

const tagged = (parts: unknown) => encodeCbor(new CborTagged(61, new CborTagged(18, parts)))

function withClaim(key: unknown, value: unknown): Buffer {
  const changed = claims()
  changed.set(key, value)
  return tagged(signed({ payload: encodeCbor(changed) }))
}

test.each(Object.keys(KEY_PAIRS))('%s: says the same as the JSON Web Token', (name) => {
  const pair = KEY_PAIRS[name]?.()
  if (pair === undefined) throw new Error(name)
  const [cwt, jwt] = (['cwt', 'jwt'] as const).map((format) =>
    resultOf(verified, nonce, pair.privateKey, { format }),
  )
  const demands = demandsOf(nonce, publicKey, pair.publicKey)
  expect(cwt?.subarray(0, 4).toString('hex')).toBe('d83dd284')
  expect(verifyResult(cwt ?? '', demands)).toEqual(verifyResult(jwt ?? '', demands))
})

test('has the numbers of the registries', () => {
  const appraisal = (claims().get(266) as Claims).get('metabind') as Claims
  expect(claims().get(265)).toBe('tag:ietf.org,2026:rats/ear#04')
  expect(Buffer.from(claims().get(10) as Uint8Array)).toEqual(nonce)
  expect(claims().get(1000)).toBe(2)
  expect(appraisal.get(1001)).toEqual(
    new Map([
      [4, 2],
      [0, 2],
      [1, 0],
    ]),
  )
  const ueid = (appraisal.get(1005) as Claims).get(256) as Uint8Array
  expect(Buffer.from(ueid).toString('hex')).toBe(`01${verified.ek.spkiSha256}`)
})

test('of provisional evidence affirms nothing', () => {
  const token = resultOf(provisional, nonce, privateKey, { format: 'cwt' })
  expect(codeOf(token)).toBe('VERIFY_PROVISIONAL')
  const result = verifyResult(token, { ...demandsOf(nonce, publicKey), allowProvisional: true })
  expect(result.status).toBe('none')
})

test('claims that nobody knows are ignored, by number and as text', () => {
  const status = (key: unknown, value: unknown) =>
    verifyResult(withClaim(key, value), demandsOf(nonce, publicKey)).status
  for (const key of [-70_000, 'https://other.example/claim', '__proto__', 'constructor']) {
    expect(status(key, new Map([[1, 2]]))).toBe('affirming')
  }
  // The name of a claim that has a number is none.
  expect(status('exp', 1)).toBe('affirming')
})

describe('refused, though the key signed it', () => {
  test.each([
    ['expired', 4, 1],
    ['another nonce', 10, Buffer.alloc(32)],
  ])('%s', (_, key, value) => {
    expect(codeOf(withClaim(key, value))).toBe('VERIFY_RESULT_CLAIMS')
  })

  test.each([
    ['times as text', 6, '1'],
    ['times with a fraction', 6, 1.5],
    ['times of more than 53 bits', 4, 2n ** 60n],
    ['a nonce that is text', 10, 'A'.repeat(43)],
    ['a status as text', 1000, 'affirming'],
    ['a status that is no tier', 1000, 3],
    ['attesters that are no map', 266, []],
  ])('%s', (_, key, value) => {
    expect(codeOf(withClaim(key, value))).toBe('VERIFY_RESULT')
  })

  const header = (more: readonly (readonly [unknown, unknown])[]) =>
    encodeCbor(new Map<unknown, unknown>([...TYPED, ...more]))

  test.each<[string, Parts]>([
    ['a critical header', { header: header([[CRIT, [ALG]]]) }],
    ['another type', { header: header([[TYP, 'application/cwt']]) }],
    ['no type', { header: encodeCbor(new Map([[ALG, -7]])) }],
    ['an algorithm that nobody has', { header: header([[ALG, -47]]) }],
    ['HMAC', { header: header([[ALG, 5]]) }],
    ['a key of its own', { header: header([[-1, 'x']]) }],
    ['no header', { header: Buffer.alloc(0) }],
    ['a header that is no map', { header: encodeCbor([]) }],
    ['a header with a key twice', { header: Buffer.from('a201260126', 'hex') }],
    ['an unprotected header', { unprotected: new Map([[4, Buffer.from('x')]]) }],
    ['claims that are no map', { payload: encodeCbor([]) }],
    ['a claim twice', { payload: Buffer.from('a206010601', 'hex') }],
    ['a part more', { more: [1] }],
  ])('%s', (_, parts) => {
    expect(codeOf(tagged(signed(parts)))).toBe('VERIFY_RESULT')
  })

  test.each([
    ['the algorithm of another key', -8],
    ['an algorithm that does not fit its curve', -35],
  ])('%s', (_, algorithm) => {
    const token = tagged(signed({ header: header([[ALG, algorithm]]) }))
    expect(codeOf(token)).toBe('VERIFY_RESULT_SIGNATURE')
  })

  test('without its tags, or with one of them', () => {
    const parts = signed({})
    for (const token of [
      encodeCbor(parts),
      encodeCbor(new CborTagged(18, parts)),
      encodeCbor(new CborTagged(61, parts)),
      encodeCbor(new CborTagged(61, new CborTagged(61, new CborTagged(18, parts)))),
      Buffer.concat([tagged(parts), Buffer.from([0])]),
    ]) {
      expect(codeOf(token)).toBe('VERIFY_RESULT')
    }
    expect(codeOf(tagged(parts), { nonce: Buffer.alloc(16) })).toBe('VERIFY_RESULT_CLAIMS')
  })

  test('longer than any of ours', () => {
    expect(codeOf(withClaim('more', 'x'.repeat(16 * 1024)))).toBe('VERIFY_RESULT')
  })
})

test('refused: another payload, header or signature than was signed', () => {
  const [header, unprotected, payload, signature] = signed({})
  const other = encodeCbor(new Map([...claims(), [-70_000, 1]]))
  const kid = encodeCbor(new Map([...TYPED, [4, Buffer.from('x')]]))
  for (const parts of [
    [header, unprotected, other, signature],
    [kid, unprotected, payload, signature],
    [header, unprotected, payload, Buffer.alloc(64)],
    [header, unprotected, payload, Buffer.alloc(0)],
  ]) {
    expect(codeOf(tagged(parts))).toBe('VERIFY_RESULT_SIGNATURE')
  }
})
