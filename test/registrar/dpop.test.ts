import { randomBytes } from 'node:crypto'
import { calculateJwkThumbprint, type JWTHeaderParameters, jwtVerify, SignJWT } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { DPOP_NONCE_LIFE_MS } from '../../src/registrar/dpop-nonce.ts'
import { oauthError } from '../../src/registrar/token-exchange.ts'
import { NOW_MS } from './enrolled.ts'
import {
  identityToken,
  OTHER_KEY,
  SK,
  skJwk,
  TOKEN_URL,
  type TokenParts,
  tokenParts,
} from './token-parts.ts'

/** Access tokens that are bound to SK (RFC 9449), and what proofs have to be. */

const AUDIENCES = `[[audience]]
name = "api.example"
formats = ["access_token", "id_token"]
[[audience]]
name = "bearer.example"
formats = ["access_token"]
dpop = "optional"
`
let parts: TokenParts
beforeAll(async () => {
  parts = await tokenParts(AUDIENCES)
})
afterAll(() => parts[Symbol.asyncDispose]())
beforeEach(() => {
  parts.nowMs = NOW_MS
})

interface Made {
  readonly claims?: Readonly<Record<string, unknown>>
  readonly header?: Readonly<Record<string, unknown>>
  readonly key?: typeof SK.privateKey
}

function proof({ claims = {}, header = {}, key = SK.privateKey }: Made = {}): Promise<string> {
  const whole = {
    ...{ jti: randomBytes(12).toString('hex'), htm: 'POST', htu: TOKEN_URL },
    ...{ iat: Math.floor(parts.nowMs / 1000), nonce: parts.nonce() },
    ...claims,
  }
  const protectedHeader = { alg: 'ES256', typ: 'dpop+jwt', jwk: skJwk, ...header }
  return new SignJWT(whole).setProtectedHeader(protectedHeader as JWTHeaderParameters).sign(key)
}

const ask = async (proofs: readonly string[], form: Readonly<Record<string, string>> = {}) => {
  const subject = await identityToken(parts.nowMs)
  return parts.exchange({ audience: 'api.example', subject_token: subject, ...form }, { proofs })
}
const withCode = (code: string) => expect.objectContaining({ code })
const REFUSED = withCode('REGISTRAR_DPOP')

test('an access token is bound to the key of its proof', async () => {
  const { access_token: token, ...answer } = await ask([await proof()])
  expect(answer).toEqual({
    issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    token_type: 'DPoP',
    expires_in: 900,
  })
  const { payload } = await jwtVerify(token, parts.keysAt('/jwks.json'), {
    ...{ typ: 'at+jwt', audience: 'api.example', subject: 'aliyun:i-one' },
    ...{ currentDate: new Date(NOW_MS), requiredClaims: ['jti', 'client_id', 'iat', 'exp'] },
  })
  expect(payload.cnf).toEqual({ jkt: await calculateJwkThumbprint(skJwk) })
})

test('without a proof none is given, unless the audience takes bearers', async () => {
  await expect(ask([])).rejects.toEqual(REFUSED)
  const { token_type: type, access_token: token } = await ask([], { audience: 'bearer.example' })
  expect(type).toBe('Bearer')
  const checked = { currentDate: new Date(NOW_MS) }
  const { payload } = await jwtVerify(token, parts.keysAt('/jwks.json'), checked)
  expect(payload).not.toHaveProperty('cnf')
  const bound = await ask([await proof()], { audience: 'bearer.example' })
  expect(bound.token_type).toBe('DPoP')
})

test('a proof with what is not bound to a key is refused, and not passed over', async () => {
  const proofs = [await proof()]
  await expect(ask(proofs, { format: 'id_token' })).rejects.toEqual(REFUSED)
})

describe('a proof is refused (RFC 9449, 4.3)', () => {
  const seconds = NOW_MS / 1000
  test.each<[string, Made]>([
    ['of another type', { header: { typ: 'JWT' } }],
    ['without a key', { header: { jwk: undefined } }],
    ['with its private key', { header: { jwk: SK.privateKey.export({ format: 'jwk' }) } }],
    [
      'by another key, which it names',
      { key: OTHER_KEY.privateKey, header: { jwk: OTHER_KEY.publicKey.export({ format: 'jwk' }) } },
    ],
    ['by another key than it names', { key: OTHER_KEY.privateKey }],
    ['without jti', { claims: { jti: undefined } }],
    ['with an empty jti', { claims: { jti: '' } }],
    ['with a jti without end', { claims: { jti: 'x'.repeat(257) } }],
    ['without htm', { claims: { htm: undefined } }],
    ['for another method', { claims: { htm: 'GET' } }],
    ['for a method in small letters', { claims: { htm: 'post' } }],
    ['without htu', { claims: { htu: undefined } }],
    ['for another path', { claims: { htu: `${TOKEN_URL}s` } }],
    ['for another host', { claims: { htu: 'https://other.example/token' } }],
    ['for another scheme', { claims: { htu: TOKEN_URL.replace('https', 'http') } }],
    ['without iat', { claims: { iat: undefined } }],
    ['of the future', { claims: { iat: seconds + 61 } }],
    ['of long ago', { claims: { iat: seconds - DPOP_NONCE_LIFE_MS / 1000 - 61 } }],
  ])('%s', async (_name, made) => {
    await expect(ask([await proof(made)])).rejects.toEqual(REFUSED)
  })

  test('with something critical in its header', async () => {
    const whole = await proof()
    const [, payload = '', signature = ''] = whole.split('.')
    const header = { alg: 'ES256', typ: 'dpop+jwt', jwk: skJwk, crit: ['exp'], exp: 1 }
    const critical = Buffer.from(JSON.stringify(header)).toString('base64url')
    await expect(ask([`${critical}.${payload}.${signature}`])).rejects.toEqual(REFUSED)
  })

  test('two of them, and what is none', async () => {
    await expect(ask([await proof(), await proof()])).rejects.toEqual(REFUSED)
    const whole = await proof()
    for (const none of ['', 'x', '..', `${whole}, ${whole}`, `${whole}=`, 'x'.repeat(5000)]) {
      await expect(ask([none])).rejects.toEqual(REFUSED)
    }
  })

  test.each<[string, () => string | undefined]>([
    ['without nonce', () => undefined],
    ['with a nonce of somebody else', () => randomBytes(24).toString('base64url')],
    ['with a nonce of another form', () => 'x'],
    [
      'with an old nonce',
      () => {
        const nonce = parts.nonce()
        parts.nowMs += DPOP_NONCE_LIFE_MS + 1
        return nonce
      },
    ],
  ])('%s: and another nonce is asked for', async (_name, nonceOf) => {
    const nonce = nonceOf()
    await expect(ask([await proof({ claims: { nonce } })])).rejects.toEqual(
      withCode('REGISTRAR_DPOP_NONCE'),
    )
    expect(oauthError('REGISTRAR_DPOP_NONCE')).toBe('use_dpop_nonce')
  })

  test('that was taken before, and the identity token beside it is still good', async () => {
    const whole = await proof()
    await ask([whole])
    const subject = await identityToken(NOW_MS)
    const form = { subject_token: subject }
    await expect(ask([whole], form)).rejects.toEqual(withCode('REGISTRAR_DPOP_REPLAY'))
    await ask([await proof()], form)
    expect(oauthError('REGISTRAR_DPOP_REPLAY')).toBe('invalid_dpop_proof')
  })
})

test.each([
  ['a query and a fragment', `${TOKEN_URL}?a=b#c`],
  ['capitals in the host', TOKEN_URL.replace('registrar', 'REGISTRAR')],
  ['the port of the scheme', TOKEN_URL.replace('.example', '.example:443')],
])('htu may have %s', async (_name, htu) => {
  await ask([await proof({ claims: { htu } })])
})

test('what is remembered of proofs is over with their nonces', async () => {
  const taken = await proof({ claims: { jti: 'one' } })
  await ask([taken])
  parts.nowMs += DPOP_NONCE_LIFE_MS + 1
  // The same id with another nonce: whoever has the key may use it again then, and no sooner.
  await ask([await proof({ claims: { jti: 'one' } })])
  await expect(ask([taken])).rejects.toEqual(withCode('REGISTRAR_DPOP_NONCE'))
})
