import { existsSync } from 'node:fs'
import { calculateJwkThumbprint, decodeJwt } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { verifyDpopProof } from '../../src/verify/index.ts'
import { newSoftwareSeeds } from '../harness/software-tpm.ts'
import type { LineProcess } from './line-process.ts'
import {
  audienceOf,
  MISSING,
  otherAudienceOf,
  startVerifiableTokens,
  VERIFIER_MODULES,
  type VerifiableTokens,
  type VerifierAnswer,
} from './verifiable-tokens.ts'
import { apacheModule, startVerifyingApache } from './verifying-servers.ts'

/** Clients that are not ours, which discover a registrar, prove their key to it, and have tokens; and who takes those. */

const AUDIENCE = audienceOf('ES256')
const strangers = { kty: 'EC', crv: 'P-256', ...newSoftwareSeeds().sk }
const stack = new AsyncDisposableStack()
let tokens: VerifiableTokens
let node: LineProcess<VerifierAnswer>
beforeAll(async () => {
  tokens = stack.use(await startVerifiableTokens())
  node = tokens.startNode()
})
afterAll(() => stack.disposeAsync())
beforeEach((context) => {
  if (!existsSync(VERIFIER_MODULES)) context.skip(MISSING)
})

const isRefused = (by: RegExp) => ({ refused: expect.stringMatching(by) })

describe('dpop', () => {
  async function proofFor(url: string, nonce: string) {
    const { proof = '', thumbprint } = await node.ask({
      ...{ who: 'dpop', provenBy: tokens.sk, url, nonce },
    })
    return { proof, thumbprint }
  }

  test('makes proofs that the registrar takes, for its URL and nonce alone', async () => {
    const url = `${tokens.registrar.url}/token`
    const { nonce } = await tokens.exchange(
      AUDIENCE,
      'access_token',
      (await proofFor(url, '')).proof,
    )
    const elsewhere = await proofFor('https://elsewhere.example/token', nonce)
    expect(await tokens.exchange(AUDIENCE, 'access_token', elsewhere.proof)).toMatchObject({
      error: 'invalid_dpop_proof',
    })
    const { proof, thumbprint } = await proofFor(url, nonce)
    const { token, type } = await tokens.exchange(AUDIENCE, 'access_token', proof)
    expect(type).toBe('DPoP')
    expect(decodeJwt(token).cnf).toEqual({ jkt: thumbprint })
  })

  test('makes proofs that metabind/verify takes, and names their key the same', async () => {
    const url = 'https://api.example/orders'
    const { proof, thumbprint } = await proofFor(url, 'one')
    const expected = { method: 'POST', url, nonce: 'one', now: new Date() }
    expect(verifyDpopProof(proof, expected).jkt).toBe(thumbprint)
    expect(thumbprint).toBe(await calculateJwkThumbprint(tokens.sk))
  })
})

describe('openid-client', () => {
  const ask = (more: object) =>
    node.ask({
      ...{ who: 'openid-client', issuer: tokens.registrar.url, algorithm: 'oauth2' },
      ...{ audience: AUDIENCE, subjectToken: tokens.subjectToken(), format: 'id_token', ...more },
    })

  test.each([['oidc'], ['oauth2']])(
    'discovers it as %s, and exchanges a token',
    async (algorithm) => {
      const { refused, given } = await ask({ algorithm })
      expect(refused).toBeUndefined()
      expect(given).toMatchObject({
        issued_token_type: 'urn:ietf:params:oauth:token-type:id_token',
      })
    },
  )

  test('proves its key with the nonce that it is told', async () => {
    const { refused, given } = await ask({ format: 'access_token', provenBy: tokens.sk })
    expect(refused).toBeUndefined()
    const { cnf } = decodeJwt(String(given?.access_token))
    expect(cnf).toEqual({ jkt: await calculateJwkThumbprint(tokens.sk) })
  })

  test('has none for an unknown audience, or with a key that is not SK', async () => {
    expect(await ask({ audience: 'nobody.example' })).toEqual(isRefused(/invalid_target/))
    const proven = { format: 'access_token', provenBy: strangers }
    expect(await ask(proven)).toEqual(isRefused(/invalid_dpop_proof/))
  })
})

describe('express-oauth2-jwt-bearer, of an access token that is bound to SK', () => {
  let asked: object
  beforeAll(async () => {
    if (!existsSync(VERIFIER_MODULES)) return
    const { given } = await node.ask({
      ...{ who: 'openid-client', issuer: tokens.registrar.url, algorithm: 'oidc' },
      ...{ audience: AUDIENCE, subjectToken: tokens.subjectToken(), format: 'access_token' },
      provenBy: tokens.sk,
    })
    const place = { issuer: tokens.registrar.url, audience: AUDIENCE, scheme: 'DPoP' }
    asked = { who: 'express-oauth2-jwt-bearer', ...place, token: given?.access_token }
  })

  test('takes it with a proof by SK', async () => {
    const answer = await node.ask({ ...asked, provenBy: tokens.sk })
    expect(answer).toMatchObject({ claims: { sub: 'aliyun:i-one' } })
  })

  test.each([
    ['without a proof', () => ({})],
    ['as a bearer', () => ({ scheme: 'Bearer' })],
    ["with a proof by another's key", () => ({ provenBy: strangers })],
    [
      'with a proof for another URL',
      () => ({ provenBy: tokens.sk, provenFor: 'https://api.example/orders' }),
    ],
    ['for another audience', () => ({ provenBy: tokens.sk, audience: otherAudienceOf('ES256') })],
  ])('refuses it %s', async (_how, more) => {
    expect(await node.ask({ ...asked, ...more() })).toEqual(isRefused(/^40[01] /))
  })
})

describe('mod_oauth2, of an access token that is bound to SK', () => {
  test('takes it with a proof by SK for its URL, and not with any other or none', async (context) => {
    if (!existsSync(apacheModule('oauth2'))) context.skip(MISSING)
    const { registrar, directory, front } = tokens
    const location = `AuthType oauth2
OAuth2AcceptTokenIn header name=Authorization&type=DPoP
OAuth2TokenVerify jwks_uri ${registrar.origin}/jwks.json verify.exp=required&type=dpop
Require oauth2_claim aud:${AUDIENCE}`
    const taken = { issuer: registrar.url, origin: registrar.origin, audience: AUDIENCE, keys: [] }
    await using server = await startVerifyingApache(
      { ...taken, authorityFile: front.authority.file, directory },
      { name: 'oauth2', server: '', location },
      {},
    )
    const { given } = await node.ask({
      ...{ who: 'openid-client', issuer: registrar.url, algorithm: 'oauth2', audience: AUDIENCE },
      ...{ subjectToken: tokens.subjectToken(), format: 'access_token', provenBy: tokens.sk },
    })
    const token = String(given?.access_token)
    const url = `${server.origin}/orders`
    const statusWith = async (provenBy: object, provenFor: string) => {
      const asked = { who: 'dpop', provenBy, url: provenFor, method: 'GET', token }
      const { proof = '' } = await node.ask(asked)
      const headers = { authorization: `DPoP ${token}`, dpop: proof }
      return (await fetch(url, { headers })).status
    }
    expect(await statusWith(tokens.sk, url)).toBe(200)
    expect(await statusWith(strangers, url)).toBe(401)
    expect(await statusWith(tokens.sk, 'https://api.example/orders')).toBe(401)
    const headers = { authorization: `DPoP ${token}` }
    expect((await fetch(url, { headers })).status).toBe(401)
  })
})
