import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { decodeJwt, jwtVerify, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { APPRAISALS } from '../../src/results/result-vector.ts'
import { CLAIMS } from '../../src/verify/claims.ts'
import { verifyResult } from '../../src/verify/index.ts'
import {
  demandsOf,
  KEY_PAIRS,
  privatePem,
  publicPem,
  resultCase,
  resultOf,
  VERIFIER,
} from '../harness/result-case.ts'
import { genuineCaseOfFile, INSTANCE_ID, NOW, refusalOf } from '../harness/verify-case.ts'

/** Attestation results as JSON Web Tokens. The other party is jose; result-python.test.ts has others. */

const it = await genuineCaseOfFile()
const { verified, provisional, nonce } = resultCase(it)
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const seconds = NOW.getTime() / 1000
const TYPED = { alg: 'ES256', typ: 'eat+jwt' }

type Json = Record<string, unknown>
/** Claims as they were signed. */
const claims = () => decodeJwt(resultOf(verified, nonce, privateKey).toString())
const signedBy = (key: KeyObject | Uint8Array, content: Json, header: Json = TYPED) =>
  new SignJWT(content).setProtectedHeader(header as { alg: string }).sign(key)
const codeOf = (token: string | Uint8Array, more: object = {}) =>
  refusalOf(() => verifyResult(token, { ...demandsOf(nonce, publicKey), ...more })).code

/** The claims with another value at a path such as `submods.metabind.ear_status`. */
function claimsWith(path: string, value: unknown): Json {
  const changed: Json = structuredClone(claims())
  const names = path.split('.')
  const last = names.pop() ?? ''
  const inside = names.reduce<Json>((object, name) => object[name] as Json, changed)
  if (value === undefined) delete inside[last]
  else inside[last] = value
  return changed
}

describe('a result', () => {
  test.each(Object.keys(KEY_PAIRS))('signed with %s is read by jose and here', async (name) => {
    const pair = KEY_PAIRS[name]?.()
    if (pair === undefined) throw new Error(name)
    const token = resultOf(verified, nonce, privatePem(pair.privateKey))
    const read = await jwtVerify(token.toString(), pair.publicKey, {
      algorithms: [name],
      typ: 'eat+jwt',
      currentDate: NOW,
    })
    expect(read.payload).toEqual(claims())
    for (const key of [pair.publicKey, publicPem(pair.publicKey)]) {
      expect(verifyResult(token, demandsOf(nonce, key)).status).toBe('affirming')
    }
  })

  test.each(Object.keys(KEY_PAIRS))('that jose signs with %s is read here', async (name) => {
    const pair = KEY_PAIRS[name]?.()
    if (pair === undefined) throw new Error(name)
    const token = await signedBy(pair.privateKey, claims(), { alg: name, typ: 'eat+jwt' })
    const other = KEY_PAIRS.ES384?.().publicKey ?? publicKey
    expect(verifyResult(token, demandsOf(nonce, other, pair.publicKey)).status).toBe('affirming')
  })

  test('says what was verified, and why', () => {
    const token = resultOf(verified, nonce, privateKey, { policyIds: ['ni:///sha-256;x'] })
    expect(verifyResult(token, demandsOf(nonce, publicKey))).toEqual({
      status: 'affirming',
      issuedAt: NOW,
      expiresAt: new Date(NOW.getTime() + 300_000),
      verifier: VERIFIER,
      policyIds: ['tag:metabind.invalid,2026:verify#2', 'ni:///sha-256;x'],
      ueid: `01${verified.ek.spkiSha256}`,
      dialect: 'aliyun',
      instanceId: INSTANCE_ID,
      iid: verified.iid,
      bind: undefined,
      sk: { jwk: verified.sk.jwk },
      vector: { hardware: 2, 'instance-identity': 2, configuration: 0 },
      reasons: {
        hardware: ['ak-in-tpm'],
        'instance-identity': ['ak-in-tpm', 'instance-from-cloud', 'instance-from-ek'],
        configuration: ['pcr-policy'],
      },
      proven: verified.proven,
      notProven: verified.notProven,
    })
  })

  test('has the claims of draft-ietf-rats-ear-04, and no evidence', () => {
    expect(claims()).toMatchObject({
      eat_profile: 'tag:ietf.org,2026:rats/ear#04',
      iat: seconds,
      exp: seconds + 300,
      ear_status: 'affirming',
      ear_verifier_id: VERIFIER,
      eat_nonce: nonce.toString('base64url'),
      submods: { metabind: { ear_status: 'affirming', eat_nonce: nonce.toString('base64url') } },
    })
    expect(JSON.stringify(claims())).not.toContain('raw_evidence')
  })

  test('names the bytes that were bound', () => {
    const bound = { ...verified, bind: 'abcd' }
    const token = resultOf(bound, nonce, privateKey)
    const bind = Buffer.from('abcd', 'hex')
    expect(verifyResult(token, { ...demandsOf(nonce, publicKey), bind }).bind).toBe('abcd')
    expect(codeOf(token, { bind: Buffer.from('abce', 'hex') })).toBe('VERIFY_RESULT_CLAIMS')
    expect(codeOf(resultOf(verified, nonce, privateKey), { bind })).toBe('VERIFY_RESULT_CLAIMS')
  })

  test('of provisional evidence affirms nothing, and is refused unless that will do', () => {
    const token = resultOf(provisional, nonce, privateKey)
    expect(JSON.stringify(decodeJwt(token.toString()))).not.toContain('affirming')
    expect(codeOf(token)).toBe('VERIFY_PROVISIONAL')
    const read = verifyResult(token, { ...demandsOf(nonce, publicKey), allowProvisional: true })
    expect(read).toMatchObject({
      status: 'none',
      vector: { hardware: 0, 'instance-identity': 0, configuration: 0 },
      reasons: { hardware: ['ak-in-tpm'] },
    })
  })

  test.each([0, 86_401, 1.5, Number.NaN])('is valid for no %d seconds', (lifeSeconds) => {
    expect(() => resultOf(verified, nonce, privateKey, { lifeSeconds })).toThrow(RangeError)
  })

  test('holds nothing that nobody could read', () => {
    const verifier = { ...VERIFIER, build: 'x'.repeat(257) }
    const policyIds = Array.from({ length: 8 }, () => 'x')
    for (const more of [{ verifier }, { policyIds }, { policyIds: [''] }]) {
      expect(() => resultOf(verified, nonce, privateKey, more)).toThrow(RangeError)
    }
  })

  test('with claims and attesters that nobody knows: the claims are ignored, the attesters refused', async () => {
    const more = { ...claims(), 'https://other.example/claim': { a: 1 } }
    expect(verifyResult(await signedBy(privateKey, more), demandsOf(nonce, publicKey)).status).toBe(
      'affirming',
    )
    const other = claimsWith('submods.other', { ear_status: 'contraindicated' })
    expect(codeOf(await signedBy(privateKey, other))).toBe('VERIFY_RESULT')
  })
})

describe('a result that its key signed, and that is refused', () => {
  test.each([
    ['expired', 'exp', seconds],
    ['from the future', 'iat', seconds + 61],
    ['not valid yet', 'nbf', seconds + 61],
    ['valid for longer than a day', 'iat', seconds + 300 - 86_401],
    ['another nonce', 'eat_nonce', Buffer.alloc(32).toString('base64url')],
    ['of evidence for another nonce', 'submods.metabind.eat_nonce', 'A'.repeat(43)],
    ['another instance', 'submods.metabind.ear_attester_claims.metabind_instance_id', 'i-other'],
  ])('%s', async (_, path, value) => {
    const token = await signedBy(privateKey, claimsWith(path, value))
    expect(codeOf(token)).toBe('VERIFY_RESULT_CLAIMS')
  })

  test('over before it was made', async () => {
    const token = await signedBy(privateKey, { ...claims(), iat: seconds + 30, exp: seconds + 30 })
    expect(codeOf(token)).toBe('VERIFY_RESULT_CLAIMS')
  })

  test.each([
    ['without exp', 'exp', undefined],
    ['with a fraction of a second', 'iat', seconds + 0.5],
    ['of another profile', 'eat_profile', 'tag:ietf.org,2026:rats/ear#03'],
    ['with a nonce of one spelling more', 'eat_nonce', `${nonce.toString('base64url')}=`],
    ['without an appraisal', 'submods', {}],
    [
      'whose status is better than its vector',
      'submods.metabind.ear_trustworthiness_vector.configuration',
      32,
    ],
    ['whose overall status is another', 'ear_status', 'none'],
    ['with a category that nobody knows', 'submods.metabind.ear_trustworthiness_vector.other', 96],
    [
      'with a value of more than eight bits',
      'submods.metabind.ear_trustworthiness_vector.hardware',
      130,
    ],
  ])('%s', async (_, path, value) => {
    expect(codeOf(await signedBy(privateKey, claimsWith(path, value)))).toBe('VERIFY_RESULT')
  })

  test('a warning', async () => {
    const warned = claimsWith('submods.metabind.ear_trustworthiness_vector.hardware', 32)
    const submods = warned.submods as Record<string, Json>
    const token = await signedBy(privateKey, {
      ...warned,
      ear_status: 'warning',
      submods: { metabind: { ...submods.metabind, ear_status: 'warning' } },
    })
    expect(codeOf(token)).toBe('VERIFY_RESULT')
  })

  test.each([
    ['no type', { alg: 'ES256' }],
    ['the type of another token', { alg: 'ES256', typ: 'JWT' }],
    ['a key of its own', { ...TYPED, jwk: {} }],
  ])('%s', async (_, header) => {
    expect(codeOf(await signedBy(privateKey, claims(), header))).toBe('VERIFY_RESULT')
  })

  test.each([
    ['a member twice', (json: string) => json.replace('{', '{"iat":1,')],
    ['a byte order mark', (json: string) => `\ufeff${json}`],
    [
      'arrays within one another',
      (json: string) => json.replace('{', `{"a":${'['.repeat(9)}${']'.repeat(9)},`),
    ],
  ])('%s', async (_, alter) => {
    const { CompactSign } = await import('jose')
    const token = await new CompactSign(Buffer.from(alter(JSON.stringify(claims()))))
      .setProtectedHeader(TYPED)
      .sign(privateKey)
    expect(codeOf(token)).toBe('VERIFY_RESULT')
  })

  test('longer than any of ours', async () => {
    const token = await signedBy(privateKey, { ...claims(), more: 'x'.repeat(16 * 1024) })
    expect(codeOf(token)).toBe('VERIFY_RESULT')
  })
})

describe('a result that its key did not sign so', () => {
  const genuine = () => resultOf(verified, nonce, privateKey).toString()
  const withHeader = (header: object) => {
    const [, payload, signature] = genuine().split('.')
    return `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${payload}.${signature}`
  }

  test.each([
    ['no algorithm', { alg: 'none', typ: 'eat+jwt' }],
    ['an algorithm that nobody has', { alg: 'ES256K', typ: 'eat+jwt' }],
    ['a critical header', { ...TYPED, crit: ['b64'], b64: false }],
  ])('%s', (_, header) => {
    expect(codeOf(withHeader(header))).toBe('VERIFY_RESULT')
  })

  test('the algorithm of another key is said to be that: the key may be of another verifier', () => {
    const token = withHeader({ alg: 'ES384', typ: 'eat+jwt' })
    expect(() => verifyResult(token, demandsOf(nonce, publicKey))).toThrow(
      expect.objectContaining({
        code: 'VERIFY_RESULT_SIGNATURE',
        detail: 'Found: it says ES384, and the keys that were given are of ES256.',
      }),
    )
  })

  test('HMAC under the public key as secret', async () => {
    const secret = Buffer.from(publicPem(publicKey))
    const token = await signedBy(secret, claims(), { ...TYPED, alg: 'HS256' })
    expect(codeOf(token)).toBe('VERIFY_RESULT')
  })

  test('another key, a signature of another form, a signature of nothing', async () => {
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    expect(codeOf(await signedBy(other, claims()))).toBe('VERIFY_RESULT_SIGNATURE')
    const [header, payload] = genuine().split('.')
    for (const signature of ['', 'AA', Buffer.alloc(64).toString('base64url')]) {
      expect(codeOf(`${header}.${payload}.${signature}`)).toBe('VERIFY_RESULT_SIGNATURE')
    }
  })

  test('another spelling: padding, a part more, a line end, a part less', () => {
    const parts = genuine().split('.')
    const spelled = [
      `${genuine()}=`,
      `${genuine()}.`,
      `${genuine()}\n`,
      parts.slice(0, 2).join('.'),
    ]
    for (const token of [...spelled, '', 'x', Buffer.from([0xff, 0x2e, 0x2e])]) {
      expect(codeOf(token)).toBe('VERIFY_RESULT')
    }
  })
})

describe('keys', () => {
  test.each([
    ['P-224', () => generateKeyPairSync('ec', { namedCurve: 'secp224r1' })],
    ['secp256k1', () => generateKeyPairSync('ec', { namedCurve: 'secp256k1' })],
    ['RSA of 1024 bits', () => generateKeyPairSync('rsa', { modulusLength: 1024 })],
    ['X25519', () => generateKeyPairSync('x25519')],
  ])('%s sign nothing and verify nothing', (_, make) => {
    const pair = make()
    for (const key of [pair.privateKey, privatePem(pair.privateKey)]) {
      expect(refusalOf(() => resultOf(verified, nonce, key)).code).toBe('VERIFY_RESULT_KEY')
    }
    expect(codeOf('x', { keys: [publicPem(pair.publicKey)] })).toBe('VERIFY_RESULT_KEY')
  })

  test('with a password, twice in a file, of the other kind, or none', () => {
    const pem = privatePem(privateKey)
    const locked = privateKey.export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-256-cbc',
      passphrase: 'x',
    })
    for (const key of [String(locked), `${pem}${pem}`, publicPem(publicKey), publicKey, '']) {
      expect(refusalOf(() => resultOf(verified, nonce, key)).code).toBe('VERIFY_RESULT_KEY')
    }
    for (const key of [pem, privateKey, 'secret', it.signer.certificatePem]) {
      expect(codeOf('x', { keys: [key] })).toBe('VERIFY_RESULT_KEY')
    }
    expect(() => verifyResult('x', demandsOf(nonce))).toThrow(RangeError)
  })

  test('of ML-DSA that the runtime does not know are refused in a plain sentence', () => {
    const der = Buffer.concat([Buffer.from('0609608648016503040312', 'hex'), Buffer.alloc(9)])
    const pem = `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`
    expect(() => resultOf(verified, nonce, pem)).toThrow('ML-DSA, which Node.js has from 24.6 on')
  })
})

test('what the vector rests on are claims', () => {
  for (const { all, oneOf } of APPRAISALS) {
    expect(all).toContain('ak-in-tpm')
    expect(Object.keys(CLAIMS)).toEqual(expect.arrayContaining([...all, ...oneOf]))
  }
})
