import { createHash, randomUUID } from 'node:crypto'
import { importJWK, jwtVerify, SignJWT } from 'jose'
import { openTpm, type Tpm } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/test/swtpm.ts'
import {
  type IdentityClaims,
  identityTokenInput,
  identityTokenOf,
} from '../../src/format/identity-token.ts'
import { SK_TEMPLATE } from '../../src/format/tpm-templates.ts'
import { type Verified, verifyEvidence, verifyIdentityToken } from '../../src/verify/index.ts'
import { newKey } from '../harness/certificate.ts'
import { bytesOf, genuineCase, INSTANCE_ID, NOW, refusalOf } from '../harness/verify-case.ts'

/** Identity tokens, signed by a real TPM; jose is the other party. */

let swtpm: Swtpm
let tpm: Tpm
let verified: Verified
beforeAll(async () => {
  swtpm = await startSwtpm()
  tpm = await openTpm({ tcti: swtpm.tcti })
  const { evidence, options } = await genuineCase(tpm)
  verified = verifyEvidence(bytesOf(evidence), options)
})
afterAll(async () => {
  await tpm.close()
  await swtpm.stop()
})

const seconds = NOW.getTime() / 1000
const claims = (changes: Partial<IdentityClaims> = {}): IdentityClaims => ({
  iss: 'metabind',
  sub: INSTANCE_ID,
  aud: 'https://service.example',
  iat: seconds,
  exp: seconds + 600,
  jti: randomUUID(),
  iid: verified.iid,
  ...changes,
})

async function signByTpm(content: IdentityClaims): Promise<string> {
  const input = identityTokenInput(content)
  const digest = createHash('sha256').update(input).digest()
  const signature = await tpm.sequence(async (commands) =>
    commands.sign(await commands.createPrimary('endorsement', SK_TEMPLATE), digest),
  )
  return identityTokenOf(input, signature)
}

const expected = () => ({
  sk: verified.sk.jwk,
  audience: 'https://service.example',
  instanceId: INSTANCE_ID,
  iid: verified.iid,
  now: NOW,
})

describe('a token of the TPM', () => {
  test('is accepted here and by jose', async () => {
    const content = claims()
    const token = await signByTpm(content)
    expect(verifyIdentityToken(token, expected())).toEqual(content)
    const key = await importJWK({ ...verified.sk.jwk }, 'ES256')
    const byJose = await jwtVerify(token, key, { audience: content.aud, currentDate: NOW })
    expect(byJose.payload).toEqual(content)
  })

  test.each([
    ['another audience', { aud: 'https://other.example' }],
    ['another instance', { sub: 'i-another' }],
    ['another identity', { iid: '00'.repeat(16) }],
    ['expired', { iat: seconds - 700, exp: seconds }],
    ['from the future', { iat: seconds + 61, exp: seconds + 600 }],
    ['valid for longer than an hour', { exp: seconds + 3601 }],
  ])('%s', async (_, changes) => {
    const token = await signByTpm(claims(changes))
    expect(refusalOf(() => verifyIdentityToken(token, expected())).code).toBe('VERIFY_TOKEN_CLAIMS')
  })
})

describe('a token of somebody else', () => {
  test('another key', async () => {
    const token = await new SignJWT(claims()).setProtectedHeader({ alg: 'ES256' }).sign(newKey())
    expect(refusalOf(() => verifyIdentityToken(token, expected())).code).toBe(
      'VERIFY_TOKEN_SIGNATURE',
    )
  })

  test('HMAC under the public key as secret', async () => {
    const secret = Buffer.from(JSON.stringify(verified.sk.jwk))
    const token = await new SignJWT(claims()).setProtectedHeader({ alg: 'HS256' }).sign(secret)
    expect(refusalOf(() => verifyIdentityToken(token, expected())).code).toBe('VERIFY_TOKEN')
  })

  test.each([
    ['no signature', { alg: 'none' }],
    ['its own key in the header', { alg: 'ES256', jwk: {} }],
    ['a critical header', { alg: 'ES256', crit: ['exp'] }],
  ])('%s', async (_, header) => {
    const [, payload = '', signature = ''] = (await signByTpm(claims())).split('.')
    const head = Buffer.from(JSON.stringify(header)).toString('base64url')
    const token = `${head}.${payload}.${signature}`
    expect(refusalOf(() => verifyIdentityToken(token, expected())).code).toBe('VERIFY_TOKEN')
  })

  test('a second spelling of one token', async () => {
    const token = await signByTpm(claims())
    const spelled = `${token}=`
    expect(refusalOf(() => verifyIdentityToken(spelled, expected())).code).toBe('VERIFY_TOKEN')
  })

  test('too long', () => {
    const refusal = refusalOf(() => verifyIdentityToken('a'.repeat(5000), expected()))
    expect(refusal.code).toBe('VERIFY_TOKEN')
  })
})
