/**
 * Somebody owns an instance whose key a service trusts, and signs identity tokens with times that are none, to be let in
 * for ever; and puts such a time into the file of a challenge, which an hour ago has run out.
 */
import { createPublicKey, sign } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { expect, inject, test } from 'vitest'
import { type PublicJwk, verifyIdentityToken } from '../../src/verify/index.ts'
import { metabindAs } from '../harness/attack.ts'
import { newKey } from '../harness/certificate.ts'
import { startVerifier } from '../harness/verifier.ts'

const NOW = new Date()
const SECONDS = Math.floor(NOW.getTime() / 1000)
const TIMES = [
  '1e999',
  '-1e999',
  'NaN',
  'null',
  '"never"',
  `"${SECONDS + 600}"`,
  '[]',
  '{}',
  'true',
  '9e15',
  '-1',
  '0.5',
]

test('no token is let in for a time that is none', () => {
  const key = newKey()
  const jwk = createPublicKey(key).export({ format: 'jwk' })
  // As a service has it from verified evidence.
  const sk = { kty: 'EC', crv: 'P-256', x: jwk.x ?? '', y: jwk.y ?? '' } satisfies PublicJwk
  const expected = { sk, audience: 'a', instanceId: 'i-x', iid: 'ab', now: NOW }
  const tokenWith = (iat: string, exp: string, more = '') => {
    const claims = `{"iss":"x","sub":"i-x","aud":"a","jti":"1","iid":"ab","iat":${iat},"exp":${exp}${more}}`
    const part = (text: string) => Buffer.from(text).toString('base64url')
    const input = `${part('{"alg":"ES256","typ":"JWT"}')}.${part(claims)}`
    const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
    return `${input}.${signature.toString('base64url')}`
  }
  const [now, later] = [String(SECONDS), String(SECONDS + 600)]
  expect(verifyIdentityToken(tokenWith(now, later), expected).sub).toBe('i-x')
  for (const time of TIMES) {
    const tokens = [
      tokenWith(now, time),
      tokenWith(time, later),
      tokenWith(now, later, `,"nbf":${time}`),
    ]
    // That a token is valid since 1970 or so is nobody's harm.
    const judged = time === '-1' || time === '0.5' ? tokens.slice(0, 2) : tokens
    for (const token of judged) {
      expect(() => verifyIdentityToken(token, expected), time).toThrow(
        /VERIFY_TOKEN|expired|token/i,
      )
    }
  }
})

test('no challenge lives longer for a time that is none', async () => {
  const { at, verify, asked } = await startVerifier()
  const files = ['--out', at('challenge'), '--secret-out', at('secret')]
  expect(await verify('challenge', at('evidence'), ...asked, ...files)).toMatchObject({ code: 0 })
  const args = ['activate', at('challenge'), '--out', at('answer')]
  expect(await metabindAs(0, args, inject('target'))).toMatchObject({ code: 0 })
  const text = await readFile(at('secret'), 'utf8')
  const finish = async (time: string) => {
    await writeFile(at('secret'), text.replace(/("expiresAtMs":\s*)\d+/, `$1${time}`))
    return (await verify('finish', at('answer'), '--secret', at('secret'))).code
  }
  expect(await finish(String(NOW.getTime() + 600_000))).toBe(0)
  for (const time of [...TIMES.filter((one) => one !== '9e15'), String(NOW.getTime() - 1)]) {
    expect(await finish(time), time).toBe(1)
  }
})
