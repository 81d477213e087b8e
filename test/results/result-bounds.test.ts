import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { decodeJwt, SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { resultClaimsSchema } from '../../src/results/result-claims.ts'
import { appraise, worstTier } from '../../src/results/result-vector.ts'
import { verifyResult } from '../../src/verify/index.ts'
import { demandsOf, privatePem, publicPem, resultCase, resultOf } from '../harness/result-case.ts'
import { genuineCaseOfFile, NOW, refusalOf } from '../harness/verify-case.ts'

/** The least and the most that a result may say, and who refuses what is beyond. */

const { verified, nonce } = resultCase(await genuineCaseOfFile())
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const seconds = NOW.getTime() / 1000
const demands = demandsOf(nonce, publicKey)

type Json = Record<string, unknown>
const claims = (): Json => decodeJwt(resultOf(verified, nonce, privateKey).toString())
const jwtOf = (content: Json) =>
  new SignJWT(content).setProtectedHeader({ alg: 'ES256', typ: 'eat+jwt' }).sign(privateKey)
const statusOf = (token: string | Uint8Array, more: object = {}) =>
  verifyResult(token, { ...demands, ...more }).status
const refused = (token: string | Uint8Array, more: object = {}) =>
  refusalOf(() => statusOf(token, more))

function claimsWith(path: string, value: unknown): Json {
  const changed: Json = structuredClone(claims())
  const names = path.split('.')
  const last = names.pop() ?? ''
  names.reduce<Json>((object, name) => object[name] as Json, changed)[last] = value
  return changed
}

const APPRAISAL = 'submods.metabind'
const ATTESTER = `${APPRAISAL}.ear_attester_claims`
const VERIFIER_CLAIMS = `${APPRAISAL}.ear_verifier_claims`
const b64 = (bytes: number) => Buffer.alloc(bytes).toString('base64url')
const many = (count: number) => Array.from({ length: count }, () => 'x')

/** Path, what is taken there at its bounds, and what is not. */
const BOUNDS: readonly (readonly [string, readonly unknown[], readonly unknown[]])[] = [
  ['eat_profile', [], ['', 'tag:metabind.invalid,2026:result#1']],
  ['iat', [0], [-1, 0.5, '0']],
  ['exp', [0], [-1, 0.5]],
  ['nbf', [0, undefined], [-1]],
  ['ear_status', ['none', 'affirming', 'warning', 'contraindicated'], ['', 'good', 2]],
  ['ear_verifier_id.developer', ['x', 'x'.repeat(256)], ['', 'x'.repeat(257), undefined]],
  ['ear_verifier_id.build', ['x', 'x'.repeat(256)], ['', 'x'.repeat(257), undefined]],
  ['eat_nonce', [b64(16), b64(64)], [b64(15), b64(65)]],
  ['submods.other', [], [{}]],
  [`${APPRAISAL}.eat_profile`, [], ['', 'tag:ietf.org,2026:rats/ear#04']],
  [`${APPRAISAL}.ear_status`, ['none'], ['', 'good']],
  [`${APPRAISAL}.eat_nonce`, [b64(16), b64(64)], [b64(15), b64(65)]],
  [`${APPRAISAL}.ear_trustworthiness_vector.hardware`, [-128, 127], [-129, 128, 1.5, '2']],
  ...[0, 1, 2, 3, 4, 5, 6, 7].map((at) => {
    const categories = [
      ...['instance-identity', 'configuration', 'executables', 'file-system'],
      ...['hardware', 'runtime-opaque', 'storage-opaque', 'sourced-data'],
    ]
    return [`${APPRAISAL}.ear_trustworthiness_vector.${categories[at]}`, [2], ['2']] as const
  }),
  [`${APPRAISAL}.ear_trustworthiness_vector.other`, [], [2]],
  [
    `${APPRAISAL}.ear_appraisal_policy_ids`,
    [['x'], many(8), ['x'.repeat(256)]],
    [[], many(9), [''], ['x'.repeat(257)], 'x'],
  ],
  [`${ATTESTER}.ueid`, [b64(33)], [b64(32), b64(34)]],
  [
    `${ATTESTER}.metabind_dialect`,
    ['a', 'z0-9', 'x'.repeat(32)],
    ['', 'A', 'x'.repeat(33), 'a\n', '\na'],
  ],
  [
    `${ATTESTER}.metabind_instance_id`,
    ['i', 'I.0_-z', 'x'.repeat(128)],
    ['', 'x'.repeat(129), 'i/', '/i'],
  ],
  [`${ATTESTER}.metabind_iid`, ['00'.repeat(16)], ['00'.repeat(15), '00'.repeat(17)]],
  [`${ATTESTER}.metabind_bound`, ['00', '00'.repeat(64), undefined], ['', '00'.repeat(65)]],
  [`${ATTESTER}.metabind_sk.kty`, [], ['RSA', '']],
  [`${ATTESTER}.metabind_sk.crv`, [], ['P-384', '']],
  [
    `${ATTESTER}.metabind_sk.x`,
    [`_-${'A'.repeat(41)}`],
    ['A'.repeat(42), 'A'.repeat(44), `=${'A'.repeat(43)}`, `${'A'.repeat(43)}=`],
  ],
  [`${ATTESTER}.metabind_sk.y`, [`z9${'A'.repeat(41)}`], ['A'.repeat(42), 'A'.repeat(44)]],
  [`${ATTESTER}.metabind_sk.d`, [], ['A'.repeat(43)]],
  ...['metabind_proven', 'metabind_not_proven', 'metabind_reasons.hardware'].map(
    (name) =>
      [
        `${VERIFIER_CLAIMS}.${name}`,
        [[], ['a', 'z0-9'], many(64), ['x'.repeat(64)]],
        [many(65), [''], ['x'.repeat(65)], ['A'], ['aA'], ['Aa'], 'x'],
      ] as const,
  ),
  [`${VERIFIER_CLAIMS}.metabind_reasons.other`, [], [['x']]],
]

describe('claims', () => {
  test.each(BOUNDS)('%s', (path, taken, not) => {
    const isTaken = (value: unknown) =>
      resultClaimsSchema.safeParse(claimsWith(path, value)).success
    expect(resultClaimsSchema.safeParse(claims()).success).toBe(true)
    expect(taken.filter((value) => !isTaken(value))).toEqual([])
    expect(not.filter((value) => isTaken(value))).toEqual([])
  })

  test.each([
    'eat_profile',
    'iat',
    'exp',
    'ear_status',
    'ear_verifier_id',
    'eat_nonce',
    'submods',
    ...['eat_profile', 'ear_status', 'ear_trustworthiness_vector', 'ear_appraisal_policy_ids'].map(
      (name) => `${APPRAISAL}.${name}`,
    ),
    ...['eat_nonce', 'ear_attester_claims', 'ear_verifier_claims'].map(
      (name) => `${APPRAISAL}.${name}`,
    ),
    ...['ueid', 'metabind_dialect', 'metabind_instance_id', 'metabind_iid', 'metabind_sk'].map(
      (name) => `${ATTESTER}.${name}`,
    ),
    ...['metabind_proven', 'metabind_not_proven', 'metabind_reasons'].map(
      (name) => `${VERIFIER_CLAIMS}.${name}`,
    ),
  ])('without %s', (path) => {
    expect(resultClaimsSchema.safeParse(claimsWith(path, undefined)).success).toBe(false)
  })

  test('that are refused are named', async () => {
    expect(refused(await jwtOf(claimsWith('iat', -1)))).toEqual({
      code: 'VERIFY_RESULT',
      check: 'claims',
    })
  })
})

test('the policy is ours, and those that were named besides', () => {
  const idsOf = (more: object) => {
    const token = resultOf(verified, nonce, privateKey, more)
    return verifyResult(token, demands).policyIds
  }
  expect(idsOf({})).toEqual(['tag:metabind.invalid,2026:verify#2'])
  expect(idsOf({ policyIds: ['x'] })).toEqual(['tag:metabind.invalid,2026:verify#2', 'x'])
})

describe('times, to the second', () => {
  test.each([1, 86_400])('a result is made for %d seconds', (lifeSeconds) => {
    const { issuedAt, expiresAt } = verifyResult(
      resultOf(verified, nonce, privateKey, { lifeSeconds }),
      demands,
    )
    expect(expiresAt.getTime() - issuedAt.getTime()).toBe(lifeSeconds * 1000)
  })

  const lives = (times: Json) => ({ ...claims(), ...times })
  test.each([
    ['over in a second', { iat: seconds - 60, exp: seconds + 1 }],
    ['made in a minute', { iat: seconds + 60, exp: seconds + 61 }],
    ['valid in a minute', { nbf: seconds + 60 }],
    ['valid for a day', { iat: seconds + 300 - 86_400 }],
  ])('accepted: %s', async (_, times) => {
    expect(statusOf(await jwtOf(lives(times)))).toBe('affirming')
  })

  test.each([
    ['over now', { iat: seconds - 60, exp: seconds }, 'Found: expired.'],
    ['over long ago', { iat: seconds - 600, exp: seconds - 300 }, 'Found: expired.'],
    ['over when it was made', { iat: seconds + 30, exp: seconds + 30 }, 'over before it was made'],
    ['over before it was made', { iat: seconds + 31, exp: seconds + 30 }, 'over before'],
  ])('refused: %s', async (_, times, why) => {
    const token = await jwtOf(lives(times))
    expect(() => statusOf(token)).toThrow(why)
    expect(refused(token)).toEqual({ code: 'VERIFY_RESULT_CLAIMS', check: 'attestation result' })
  })
})

describe('demands', () => {
  test('of no instance', () => {
    const token = resultOf(verified, nonce, privateKey)
    expect(statusOf(token, { expectedInstanceId: undefined })).toBe('affirming')
  })

  test('1 to 16 keys', () => {
    const token = resultOf(verified, nonce, privateKey)
    const keys = (count: number) => ({ keys: Array.from({ length: count }, () => publicKey) })
    expect(statusOf(token, keys(16))).toBe('affirming')
    for (const count of [0, 17]) expect(() => statusOf(token, keys(count))).toThrow(RangeError)
  })

  test('a status that is another one than overall, and than the vector', async () => {
    const token = await jwtOf(claimsWith(`${APPRAISAL}.ear_status`, 'none'))
    expect(refused(token, { allowProvisional: true }).code).toBe('VERIFY_RESULT')
    const overall = await jwtOf({ ...claims(), ear_status: 'none' })
    expect(refused(overall, { allowProvisional: true }).code).toBe('VERIFY_RESULT')
  })

  test('keys of other algorithms are named', () => {
    const token = resultOf(verified, nonce, privateKey)
    const keys = ['P-384', 'P-521', 'P-384'].map(
      (namedCurve) => generateKeyPairSync('ec', { namedCurve }).publicKey,
    )
    const [check, code] = ['attestation result', 'VERIFY_RESULT_SIGNATURE']
    expect(refused(token, { keys })).toEqual({ code, check })
    expect(() => statusOf(token, { keys })).toThrow('it says ES256, and the keys')
    expect(() => statusOf(token, { keys })).toThrow('are of ES384, ES512.')
  })

  test('refusals name what is refused', () => {
    const token = resultOf(verified, nonce, privateKey)
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey
    const check = 'attestation result'
    expect(refused(token, { keys: [other] })).toEqual({ code: 'VERIFY_RESULT_SIGNATURE', check })
    expect(refused('x')).toEqual({ code: 'VERIFY_RESULT', check })
    const provisional = { ...verified, proven: [] }
    expect(refused(resultOf(provisional, nonce, privateKey))).toEqual({
      code: 'VERIFY_PROVISIONAL',
      check,
    })
  })
})

describe('the vector', () => {
  // AR4SI 2.3.2.
  test.each([
    ['none', [-1, 0, 1]],
    ['affirming', [-32, -2, 2, 31]],
    ['warning', [-96, -33, 32, 95]],
    ['contraindicated', [-128, -97, 96, 127]],
  ])('%s', (tier, values) => {
    for (const hardware of values)
      expect([hardware, worstTier({ hardware })]).toEqual([hardware, tier])
  })

  test('is as bad as its worst value, whatever stands for nothing', () => {
    expect(worstTier({})).toBe('none')
    expect(worstTier({ hardware: 0, configuration: 2 })).toBe('affirming')
    expect(worstTier({ hardware: 96, configuration: 32, executables: 2 })).toBe('contraindicated')
    expect(worstTier({ hardware: 2, configuration: 32 })).toBe('warning')
  })

  test('is as claims are proven, and says which are lacking', () => {
    expect(appraise(['ak-in-tpm', 'instance-from-ek'])).toEqual({
      vector: { hardware: 2, 'instance-identity': 2, configuration: 0 },
      reasons: {
        hardware: ['ak-in-tpm'],
        'instance-identity': ['ak-in-tpm', 'instance-from-ek'],
        configuration: ['pcr-policy'],
      },
    })
    expect(appraise(['instance-from-cloud', 'pcr-policy'])).toEqual({
      vector: { hardware: 0, 'instance-identity': 0, configuration: 0 },
      reasons: {
        hardware: ['ak-in-tpm'],
        'instance-identity': ['ak-in-tpm'],
        configuration: ['ak-in-tpm'],
      },
    })
    expect(appraise(['ak-in-tpm']).reasons['instance-identity']).toEqual([
      'instance-from-cloud',
      'instance-from-ek',
    ])
  })
})

describe('keys', () => {
  const sentence = (key: KeyObject | string) => () => resultOf(verified, nonce, key)

  test('a file of 64 KiB, and not one of a byte more', () => {
    const pem = publicPem(publicKey)
    const token = resultOf(verified, nonce, privateKey)
    expect(statusOf(token, { keys: [pem.padEnd(65_536)] })).toBe('affirming')
    expect(() => statusOf(token, { keys: [pem.padEnd(65_537)] })).toThrow('the file is too long')
  })

  test('what is wrong with one is said', () => {
    const token = resultOf(verified, nonce, privateKey)
    const { privateKey: weak } = generateKeyPairSync('ec', { namedCurve: 'secp256k1' })
    const noKey = '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'
    expect(sentence(publicKey)).toThrow('it is no private key')
    expect(() => statusOf(token, { keys: [privateKey] })).toThrow('it is no public key')
    expect(sentence(weak)).toThrow('no results are signed by keys of its kind')
    expect(sentence('x')).toThrow('it is no PEM with one PRIVATE KEY')
    expect(sentence(noKey)).toThrow('or of a kind that this runtime does not know')
    expect(sentence(privatePem(privateKey).replace('-----', '----'))).toThrow('it is no PEM')
    expect(refusalOf(sentence('x'))).toEqual({ code: 'VERIFY_RESULT_KEY', check: 'result key' })
  })

  test.each([
    ['of RSA', { kty: 'RSA', n: 'x', e: 'x' }],
    ['of another kind, though of that curve', { kty: 'RSA', n: 'x', e: 'x', crv: 'P-256' }],
    ['of another curve', { kty: 'EC', crv: 'P-384', x: 'x', y: 'x' }],
  ] as const)('an SK %s is not put into a result', (_, jwk) => {
    const other = { ...verified, sk: { ...verified.sk, jwk } }
    expect(() => resultOf(other, nonce, privateKey)).toThrow('the SK is no key of P-256')
  })
})
