import { createHash, createPublicKey, randomUUID, sign } from 'node:crypto'
import { importJWK, jwtVerify, SignJWT } from 'jose'
import { openTpm, type Tpm } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { type IdentityClaims, identityTokenInput } from '../../src/format/identity-token.ts'
import { jwsOfTpm } from '../../src/format/jws.ts'
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
  return jwsOfTpm(input, signature)
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
    const content = claims({ nbf: seconds })
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
    ['not valid yet (nbf)', { nbf: seconds + 61 }],
    ['over before it was made', { iat: seconds + 60, exp: seconds + 59 }],
    ['expired', { iat: seconds - 700, exp: seconds }],
    ['from the future', { iat: seconds + 61, exp: seconds + 600 }],
    ['over when it was made', { iat: seconds + 60, exp: seconds + 60 }],
    ['valid for longer than an hour', { exp: seconds + 3601 }],
  ])('%s', async (_, changes) => {
    const token = await signByTpm(claims(changes))
    const refusal = refusalOf(() => verifyIdentityToken(token, expected()))
    expect(refusal).toEqual({ code: 'VERIFY_TOKEN_CLAIMS', check: 'identity token' })
  })

  test.each([
    ['from as far in the future as clocks may differ', { iat: seconds + 60 }],
    ['valid from then on', { nbf: seconds + 60 }],
    ['valid for an hour', { exp: seconds + 3600 }],
    ['in its last second', { iat: seconds - 600, exp: seconds + 1 }],
  ])('%s, which is accepted', async (_, changes) => {
    const content = claims(changes)
    expect(verifyIdentityToken(await signByTpm(content), expected())).toEqual(content)
  })
})

describe('a token of somebody else', () => {
  test('another key', async () => {
    const token = await new SignJWT(claims()).setProtectedHeader({ alg: 'ES256' }).sign(newKey())
    const refusal = refusalOf(() => verifyIdentityToken(token, expected()))
    expect(refusal).toEqual({ code: 'VERIFY_TOKEN_SIGNATURE', check: 'identity token' })
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
    ['another type', { alg: 'ES256', typ: 'secevent+jwt' }],
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

  test('too long, though the TPM signed it; one as long as may be is accepted', async () => {
    // Of any payload a third of its characters more is the token: the jti makes up what is lacking.
    const signed = (jtiCharacters: number) => signByTpm(claims({ jti: 'j'.repeat(jtiCharacters) }))
    const bare = (await signed(3)).length
    const fits = 3 + Math.floor(((4096 - bare) * 3) / 4)
    const [longest, longer] = [await signed(fits), await signed(fits + 3)]
    expect(longest.length).toBeGreaterThan(4090)
    expect(verifyIdentityToken(longest, expected()).jti).toHaveLength(fits)
    expect(longer.length).toBeGreaterThan(4096)
    expect(refusalOf(() => verifyIdentityToken(longer, expected())).code).toBe('VERIFY_TOKEN')
  })

  test('of four parts, the first three of which are good', async () => {
    const token = await signByTpm(claims())
    for (const more of ['', 'AA']) {
      const refusal = refusalOf(() => verifyIdentityToken(`${token}.${more}`, expected()))
      expect(refusal.code).toBe('VERIFY_TOKEN')
    }
  })

  test.each(['secp256k1', 'P-384'])('signed on another curve: %s', (curve) => {
    const key = newKey(curve)
    const input = identityTokenInput(claims())
    const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
    const jwk = createPublicKey(key).export({ format: 'jwk' })
    const { crv = '', x = '', y = '' } = jwk
    const sk = { kty: 'EC', crv, x, y } as const
    const token = `${input}.${signature.toString('base64url')}`
    const refusal = refusalOf(() => verifyIdentityToken(token, { ...expected(), sk }))
    expect(refusal.code).toBe('VERIFY_TOKEN_SIGNATURE')
  })

  test.each([
    ['a member twice', (json: string) => json.replace('{', '{"aud":"https://other.example",')],
    ['a byte order mark', (json: string) => `\ufeff${json}`],
    ['a member too few', (json: string) => json.replace(/"exp":\d+,/, '')],
    ['no JSON in them', () => 'claims'],
  ])('whose claims have %s, though its key signed them', async (_, alter) => {
    const key = newKey()
    const [head = '', payload = ''] = identityTokenInput(claims()).split('.')
    const altered = alter(Buffer.from(payload, 'base64url').toString())
    const input = `${head}.${Buffer.from(altered).toString('base64url')}`
    const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
    const { crv = '', x = '', y = '' } = createPublicKey(key).export({ format: 'jwk' })
    const sk = { kty: 'EC', crv, x, y } as const
    const token = `${input}.${signature.toString('base64url')}`
    const refusal = refusalOf(() => verifyIdentityToken(token, { ...expected(), sk }))
    expect(refusal.code).toBe('VERIFY_TOKEN')
  })
})
