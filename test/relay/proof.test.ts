import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { tokenHash } from '../../src/format/token-hash.ts'
import { parseProofAsked, parseProofRequest, proofs } from '../../src/relay/proof.ts'

/** What callers may ask for, and what becomes of it. */

const GET = { kind: 'dpop', method: 'GET', url: 'https://api.example/orders?x=y' }
const WPT = { kind: 'wpt', url: 'https://api.example/orders', wth: tokenHash('a.b.c') }
const parse = (body: object | string) =>
  parseProofRequest(Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))

describe('a body', () => {
  test('is read, and of tokens only their hashes are kept', () => {
    expect(parse(GET)).toMatchObject({ kind: 'dpop', method: 'GET', ath: undefined })
    const hash = tokenHash('token')
    for (const body of [
      { ...GET, access_token: 'token', nonce: 'n' },
      { ...GET, ath: hash, nonce: 'n' },
    ]) {
      expect(parse(body)).toMatchObject({ ath: hash, nonce: 'n' })
      expect(JSON.stringify(parse(body))).not.toContain('"token"')
    }
    const { wth: _, ...without } = WPT
    for (const body of [WPT, { ...without, identity_token: 'a.b.c' }]) {
      expect(parse({ ...body, ath: hash, tth: hash })).toMatchObject({
        ...{ kind: 'wpt', method: undefined, wth: WPT.wth, ath: hash, tth: hash },
      })
    }
  })

  test.each([
    ['nothing', ''],
    ['no JSON', '{'],
    ['a list', '[]'],
    ['a byte order mark', `\ufeff${JSON.stringify(GET)}`],
    ['a member twice', JSON.stringify(GET).replace('{', '{"method":"POST",')],
    ['a member twice, once escaped', JSON.stringify(GET).replace('{', '{"\\u006dethod":"POST",')],
    ['JSON within JSON', '['.repeat(4000)],
    ['another member', { ...GET, htu: 'https://other.example/' }],
    ['a prototype', '{"__proto__":{"kind":"dpop"},"method":"GET","url":"https://h/"}'],
    ['no kind', { ...GET, kind: undefined }],
    ['another kind', { ...GET, kind: 'jwt' }],
    ['no method', { ...GET, method: undefined }],
    ['a method in small letters', { ...GET, method: 'get' }],
    ['a method of two lines', { ...GET, method: 'GET\r\nX: y' }],
    ['a method that is long', { ...GET, method: 'G'.repeat(99) }],
    ['a token and a hash', { ...GET, access_token: 'token', ath: tokenHash('token') }],
    ['an empty token', { ...GET, access_token: '' }],
    ['a token of two lines', { ...GET, access_token: 'a\nb' }],
    ['a hash in hex', { ...GET, ath: 'ab'.repeat(32) }],
    ['a hash in a second spelling', { ...GET, ath: `${'A'.repeat(42)}B` }],
    ['an empty nonce', { ...GET, nonce: '' }],
    ['a nonce with a quotation mark', { ...GET, nonce: 'a"b' }],
    ['a nonce that is long', { ...GET, nonce: 'n'.repeat(1025) }],
    ['a number for a text', { ...GET, nonce: 7 }],
    ['a nonce in a WPT', { ...WPT, nonce: 'n' }],
    ['a method in a WPT', { ...WPT, method: 'GET' }],
    ['no identity token', { ...WPT, wth: undefined }],
    ['an identity token and its hash', { ...WPT, identity_token: 'a.b.c' }],
  ])('is refused: %s', (_, body) => {
    expect(() => parse(body)).toThrow(expect.objectContaining({ code: 'PROOF_REQUEST' }))
  })

  test('that is none, or has a URL of another form, is refused', () => {
    expect(() => parseProofRequest(undefined)).toThrow(
      expect.objectContaining({ code: 'PROOF_REQUEST' }),
    )
    expect(() => parse({ ...GET, url: 'https://user@h/' })).toThrow(
      expect.objectContaining({ code: 'PROOF_URL' }),
    )
  })

  test('of a question has a URL, and a method if it is about one', () => {
    const ask = (body: object) => parseProofAsked(Buffer.from(JSON.stringify(body)))
    expect(ask({ url: 'https://h/' }).method).toBeUndefined()
    expect(ask({ url: 'https://h/', method: 'GET' })).toMatchObject({ method: 'GET' })
    for (const body of [{}, { url: 'https://h/', more: 1 }, { url: 'https://h/', method: '' }]) {
      expect(() => ask(body)).toThrow(expect.objectContaining({ code: 'PROOF_REQUEST' }))
    }
  })
})

test('a proof says what was asked for and no more, and each has an id of its own', async () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { crv = '', x = '', y = '' } = publicKey.export({ format: 'jwk' })
  const signed: string[] = []
  // TPMT_SIGNATURE of ECDSA with SHA-256: r and s of one byte each.
  const signature = Buffer.from('0018000b000101000101', 'hex')
  const { make } = proofs({
    jwk: { kty: 'EC', crv, x, y },
    sign: async (text, uid) => {
      signed.push(`${uid} ${text}`)
      return signature
    },
    wallTimeMs: () => 1_700_000_000_999,
  })
  const partsOf = async (body: object) => {
    const [header = '', payload = ''] = (await make(parse(body), 7)).reveal().split('.')
    return [header, payload].map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()))
  }
  const jti = expect.stringMatching(/^[0-9a-f-]{36}$/)
  expect(await partsOf({ ...GET, nonce: 'n', access_token: 'token' })).toEqual([
    { typ: 'dpop+jwt', alg: 'ES256', jwk: { kty: 'EC', crv, x, y } },
    {
      ...{ jti, htm: 'GET', htu: 'https://api.example/orders', iat: 1_700_000_000 },
      ...{ ath: tokenHash('token'), nonce: 'n' },
    },
  ])
  expect(await partsOf(WPT)).toEqual([
    { typ: 'wpt+jwt', alg: 'ES256' },
    { jti, aud: 'https://api.example/orders', exp: 1_700_000_060, wth: WPT.wth },
  ])
  const [, first] = await partsOf(GET)
  const [, second] = await partsOf(GET)
  expect(first.jti).not.toBe(second.jti)
  expect(signed.every((text) => text.startsWith('7 '))).toBe(true)
})
