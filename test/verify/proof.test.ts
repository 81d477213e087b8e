import { generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import { calculateJwkThumbprint, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { comparableUri } from '../../src/format/http-uri.ts'
import { tokenHash } from '../../src/format/token-hash.ts'
import {
  jwkThumbprint,
  type PublicJwk,
  verifyDpopProof,
  verifyIdentityToken,
  verifyWorkloadProof,
} from '../../src/verify/index.ts'
import { detailOf, refusalOf } from '../harness/verify-case.ts'

/** Proofs that jose makes, of requests to a service. */

const NOW = new Date('2026-11-29T12:00:00Z')
const SECONDS = NOW.getTime() / 1000
const URL_ASKED = 'https://service.example/orders'
const { privateKey, jwk } = newKey()

function newKey(): { readonly privateKey: KeyObject; readonly jwk: PublicJwk } {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { crv = '', x = '', y = '' } = pair.publicKey.export({ format: 'jwk' })
  return { privateKey: pair.privateKey, jwk: { kty: 'EC', crv, x, y } }
}

interface Changes {
  readonly header?: Readonly<Record<string, unknown>>
  readonly claims?: Readonly<Record<string, unknown>>
  readonly key?: KeyObject
}

function dpop({ header, claims, key = privateKey }: Changes = {}): Promise<string> {
  const request = { htm: 'POST', htu: URL_ASKED, iat: SECONDS, jti: randomUUID() }
  return new SignJWT({ ...request, ...claims })
    .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk, ...header })
    .sign(key)
}

function wpt({ header, claims, key = privateKey }: Changes = {}): Promise<string> {
  const content = { aud: URL_ASKED, exp: SECONDS + 60, jti: randomUUID(), wth: tokenHash('a.b.c') }
  return new SignJWT({ ...content, ...claims })
    .setProtectedHeader({ alg: 'ES256', typ: 'wpt+jwt', ...header })
    .sign(key)
}

/** A proof whose parts are whatever they are, signed. */
function signed(header: string, payload: string): string {
  const part = (text: string) => Buffer.from(text).toString('base64url')
  const input = `${part(header)}.${part(payload)}`
  const signature = sign('sha256', Buffer.from(input), {
    key: privateKey,
    dsaEncoding: 'ieee-p1363',
  })
  return `${input}.${signature.toString('base64url')}`
}

const ASKED = { method: 'POST', url: URL_ASKED, now: NOW }
const WITH_TOKEN = { ...ASKED, token: { value: 'an access token', jkt: jwkThumbprint(jwk) } }
const WORKLOAD = { identityToken: 'a.b.c', jwk, audience: URL_ASKED, now: NOW }

const found = (check: () => unknown) => refusalOf(check).code

describe('a DPoP proof', () => {
  test('is accepted for the request that it was made for', async () => {
    const held = verifyDpopProof(await dpop(), ASKED)
    expect(held).toMatchObject({ jwk, claims: { htm: 'POST', htu: URL_ASKED } })
    expect(held.jkt).toBe(await calculateJwkThumbprint({ ...jwk }))
    expect(held.rememberUntil).toEqual(new Date(NOW.getTime() + 60_000))
  })

  test('with an access token is for that token and its key', async () => {
    const proof = await dpop({ claims: { ath: tokenHash('an access token') } })
    expect(verifyDpopProof(proof, WITH_TOKEN).jti).not.toBe('')
    const other = { ...WITH_TOKEN, token: { ...WITH_TOKEN.token, value: 'another' } }
    expect(found(() => verifyDpopProof(proof, other))).toBe('VERIFY_PROOF_CLAIMS')
    const thief = newKey()
    const stolen = await dpop({
      key: thief.privateKey,
      header: { jwk: thief.jwk },
      claims: { ath: tokenHash('an access token') },
    })
    expect(found(() => verifyDpopProof(stolen, WITH_TOKEN))).toBe('VERIFY_PROOF_CLAIMS')
    expect(verifyDpopProof(stolen, ASKED).jkt).toBe(jwkThumbprint(thief.jwk))
  })

  test('without a hash of the token is refused where one came', async () => {
    const proof = await dpop()
    expect(found(() => verifyDpopProof(proof, WITH_TOKEN))).toBe('VERIFY_PROOF_CLAIMS')
  })

  test.each([
    ['another method', { htm: 'GET' }],
    ['the method in small letters', { htm: 'post' }],
    ['another path', { htu: 'https://service.example/order' }],
    ['another host', { htu: 'https://other.example/orders' }],
    ['another scheme', { htu: 'http://service.example/orders' }],
    ['a user in the URL', { htu: 'https://user@service.example/orders' }],
    ['no URL', { htu: '/orders' }],
    ['made too long ago', { iat: SECONDS - 61 }],
    ['from the future', { iat: SECONDS + 61 }],
  ])('is refused: %s', async (_, claims) => {
    const proof = await dpop({ claims })
    expect(found(() => verifyDpopProof(proof, ASKED))).toBe('VERIFY_PROOF_CLAIMS')
  })

  test.each([
    ['query and fragment', { htu: `${URL_ASKED}?a=b#c` }],
    ['capital letters and the default port', { htu: 'HTTPS://SERVICE.example:443/orders' }],
    ['escapes of plain letters', { htu: 'https://service.example/%6frders' }],
    ['dot segments', { htu: 'https://service.example/a/../orders' }],
    ['an old one, within the bound', { iat: SECONDS - 60 }],
    ['one of a clock that is a minute ahead', { iat: SECONDS + 60 }],
  ])('is accepted: %s', async (_, claims) => {
    expect(verifyDpopProof(await dpop({ claims }), ASKED).jti).not.toBe('')
  })

  test('has one of the nonces, if there are any', async () => {
    const asked = { ...ASKED, nonces: ['new', 'old'] }
    expect(verifyDpopProof(await dpop({ claims: { nonce: 'old' } }), asked).claims.nonce).toBe(
      'old',
    )
    for (const claims of [{}, { nonce: 'other' }]) {
      const proof = await dpop({ claims })
      expect(found(() => verifyDpopProof(proof, asked))).toBe('VERIFY_PROOF_NONCE')
    }
    const proof = await dpop()
    expect(found(() => verifyDpopProof(proof, { ...ASKED, nonces: [] }))).toBe('VERIFY_PROOF_NONCE')
  })

  test.each([
    ['of another type', { typ: 'JWT' }],
    ['of the other kind', { typ: 'wpt+jwt' }],
    ['without a key', { jwk: undefined }],
    ['with a private key', { jwk: { ...jwk, d: jwk.kty === 'EC' ? jwk.x : '' } }],
    ['with a point of no curve', { jwk: { ...jwk, x: 'A'.repeat(43) } }],
    ['with a key in another spelling', { jwk: { ...jwk, x: `${'A'.repeat(42)}B` } }],
    ['with a link to a key', { jku: 'https://attacker.example' }],
  ])('is malformed: %s', async (_, header) => {
    const proof = await dpop({ header })
    expect(found(() => verifyDpopProof(proof, ASKED))).toBe('VERIFY_PROOF')
  })

  test('is malformed without claims, with one twice, in another spelling, or too long', async () => {
    const header = JSON.stringify({ alg: 'ES256', typ: 'dpop+jwt', jwk })
    const whole = `"htm":"POST","htu":"${URL_ASKED}","iat":${SECONDS}`
    const proof = await dpop()
    const bad = [
      signed(header, `{${whole}}`),
      signed(header, `{${whole},"jti":"a","jti":"b"}`),
      signed(header, `{${whole},"jti":""}`),
      signed(header, '[]'),
      signed('{', '{}'),
      `${proof}=`,
      `${proof}.`,
      proof.split('.').slice(0, 2).join('.'),
      signed(header, `{${whole},"jti":"a","more":"${'a'.repeat(8192)}"}`),
      '',
    ]
    expect(bad.map((text) => found(() => verifyDpopProof(text, ASKED)))).toEqual(
      bad.map(() => 'VERIFY_PROOF'),
    )
  })

  test('may be as long as it may be, and not longer', () => {
    const header = JSON.stringify({ alg: 'ES256', typ: 'dpop+jwt', jwk })
    const claims = { htm: 'POST', htu: URL_ASKED, iat: SECONDS, jti: 'a', more: '' }
    const padded = (characters: number) =>
      signed(header, JSON.stringify({ ...claims, more: 'a'.repeat(characters) }))
    const lengths = new Map(
      Array.from({ length: 200 }, (_, each) => padded(5650 + each)).map((proof) => [
        proof.length,
        proof,
      ]),
    )
    const [longest = ''] = [8192, 8191].map((length) => lengths.get(length) ?? '').filter(Boolean)
    expect(longest).not.toBe('')
    expect(verifyDpopProof(longest, ASKED).jti).toBe('a')
    const longer = lengths.get(8193) ?? lengths.get(8194) ?? ''
    expect(detailOf(() => verifyDpopProof(longer, ASKED))).toBe('VERIFY_PROOF Found: too long.')
  })

  test('says what was found, where there is something to say', async () => {
    const forged = await dpop({ key: newKey().privateKey })
    expect(detailOf(() => verifyDpopProof(forged, ASKED))).toBe('VERIFY_PROOF_SIGNATURE undefined')
    expect(refusalOf(() => verifyDpopProof(forged, ASKED)).check).toBe('proof')
    expect(detailOf(() => verifyDpopProof('a.b', ASKED))).toBe(
      'VERIFY_PROOF Found: not three parts.',
    )
    const asked = { ...WITH_TOKEN }
    const without = await dpop()
    expect(detailOf(() => verifyDpopProof(without, asked))).toBe(
      'VERIFY_PROOF_CLAIMS Found: for no token.',
    )
    const other = await dpop({ claims: { ath: tokenHash('another') } })
    expect(detailOf(() => verifyDpopProof(other, asked))).toBe(
      'VERIFY_PROOF_CLAIMS Found: for another token.',
    )
  })

  test('is refused if another key signed it, or no key', async () => {
    const forged = await dpop({ key: newKey().privateKey })
    expect(found(() => verifyDpopProof(forged, ASKED))).toBe('VERIFY_PROOF_SIGNATURE')
    const unsigned = forged.replace(/[^.]*$/, '')
    expect(found(() => verifyDpopProof(unsigned, ASKED))).toBe('VERIFY_PROOF_SIGNATURE')
  })

  test('needs a time and a URL to be checked against', async () => {
    const proof = await dpop()
    expect(() => verifyDpopProof(proof, { ...ASKED, now: new Date('') })).toThrow(RangeError)
    expect(() => verifyDpopProof(proof, { ...ASKED, url: '/orders' })).toThrow(RangeError)
    const ageSecondsMax = Number.NaN
    expect(found(() => verifyDpopProof(proof, { ...ASKED, ageSecondsMax }))).toBe(
      'VERIFY_PROOF_CLAIMS',
    )
  })
})

describe('a Workload Proof Token', () => {
  test('is accepted with the token that it is for', async () => {
    const held = verifyWorkloadProof(await wpt(), WORKLOAD)
    expect(held.claims.aud).toBe(URL_ASKED)
    expect(held.rememberUntil).toEqual(new Date(NOW.getTime() + 60_000))
  })

  test.each([
    ['another identity token', {}, { identityToken: 'x.y.z' }],
    ['another audience', {}, { audience: 'https://other.example/' }],
    ['another name that is no URL', { aud: 'orders' }, { audience: 'bills' }],
    ['expired', { exp: SECONDS }, {}],
    ['valid for too long', { exp: SECONDS + 361 }, {}],
    ['no hash of the access token', {}, { accessToken: 'token' }],
    ['another access token', { ath: tokenHash('other') }, { accessToken: 'token' }],
    ['no hash of the transaction token', {}, { transactionToken: 'token' }],
    ['a token that is not there', { oth: { 'x-token': tokenHash('a') } }, {}],
    ['no hash of another token', {}, { otherTokens: { 'x-token': 'a' } }],
    [
      'another other token',
      { oth: { 'x-token': tokenHash('b') } },
      { otherTokens: { 'x-token': 'a' } },
    ],
  ])('is refused: %s', async (_, claims, changes) => {
    const proof = await wpt({ claims })
    expect(found(() => verifyWorkloadProof(proof, { ...WORKLOAD, ...changes }))).toBe(
      'VERIFY_PROOF_CLAIMS',
    )
  })

  test.each([
    ['a URL with a query', { aud: `${URL_ASKED}?a=b` }, {}],
    ['for as long as it may be, by a clock that is a minute ahead', { exp: SECONDS + 360 }, {}],
    ['a name that is no URL', { aud: 'orders' }, { audience: 'orders' }],
    [
      'with all its tokens',
      { ath: tokenHash('at'), tth: tokenHash('tt'), oth: { 'x-token': tokenHash('a') } },
      { accessToken: 'at', transactionToken: 'tt', otherTokens: { 'x-token': ' a ' } },
    ],
  ])('is accepted: %s', async (_, claims, changes) => {
    const proof = await wpt({ claims })
    expect(verifyWorkloadProof(proof, { ...WORKLOAD, ...changes }).jti).not.toBe('')
  })

  test('is refused if another key signed it', async () => {
    const forged = await wpt({ key: newKey().privateKey })
    expect(found(() => verifyWorkloadProof(forged, WORKLOAD))).toBe('VERIFY_PROOF_SIGNATURE')
  })

  test.each([{ typ: 'JWT' }, { typ: 'dpop+jwt' }, { jwk }, { kid: 1 }])(
    'with the header %o is malformed',
    async (header) => {
      const proof = await wpt({ header })
      expect(found(() => verifyWorkloadProof(proof, WORKLOAD))).toBe('VERIFY_PROOF')
    },
  )
})

test('no proof passes for an identity token, nor a proof of one kind for the other', async () => {
  const identity = { sub: 'i-1', iid: 'ab', iss: 'metabind:ab', exp: SECONDS + 60, iat: SECONDS }
  const expected = { sk: jwk, audience: URL_ASKED, instanceId: 'i-1', iid: 'ab', now: NOW }
  for (const proof of [await wpt({ claims: identity }), await dpop({ claims: identity })]) {
    expect(found(() => verifyIdentityToken(proof, expected))).toBe('VERIFY_TOKEN')
  }
  const proof = await wpt({ claims: { htm: 'POST', htu: URL_ASKED, iat: SECONDS } })
  expect(found(() => verifyDpopProof(proof, ASKED))).toBe('VERIFY_PROOF')
})

describe('URLs are compared', () => {
  test.each([
    ['https://h', 'https://h/'],
    ['HTTP://H:80/a', 'http://h/a'],
    ['https://h:8443/a?b#c', 'https://h:8443/a'],
    ['https://h/%7Euser/%e4%2f', 'https://h/~user/%E4%2F'],
    ['https://[::1]/a', 'https://[::1]/a'],
    ['https://h/a//b/', 'https://h/a//b/'],
  ])('%s as %s', (text, compared) => {
    expect(comparableUri(text)).toBe(compared)
  })

  test.each([
    '',
    'h/a',
    'https:h',
    'https:/h',
    'https:///h',
    'ftp://h/',
    'https://u:p@h/',
    'https://h\\a',
    'https://h/ä',
    'https://h/a b',
    'https://h/%2',
    'https://h/%zz',
    `https://h/${'a'.repeat(2048)}`,
    'https://999.1.1.1.1/',
  ])('never: %s', (text) => {
    expect(comparableUri(text)).toBeUndefined()
  })
})
