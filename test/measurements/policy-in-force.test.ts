import { generateKeyPairSync, sign } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import {
  type PolicyFile,
  parseTrustedPolicy,
  requireRevision,
} from '../../src/measurements/trusted-policy.ts'
import { detailOf } from '../harness/verify-case.ts'

/** Whether a policy file is to be gone by: what is wrong with one that is not, and up to when one is. */

const NOW_MS = Date.parse('2026-11-23T12:00:00Z')
const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const PEM = Buffer.from(publicKey.export({ type: 'spki', format: 'pem' }))
const signatureOf = (bytes: Uint8Array) => sign(null, bytes, privateKey)

const policy = (members: object = {}) =>
  Buffer.from(
    JSON.stringify({
      ...{ format: 'metabind pcr policy', version: 2, bank: 'sha256' },
      ...members,
      rules: [{ rule: 'secure-boot' }],
    }),
  )
const POLICY = policy()
const SIGNED = {
  pcrPolicy: POLICY,
  pcrPolicyKey: PEM,
  pcrPolicySignature: signatureOf(POLICY),
} as const

const parse = (file: PolicyFile) => parseTrustedPolicy(file, NOW_MS)
const refused = (file: PolicyFile) => detailOf(() => parse(file))

test('none is asked for: none is in force, and any that is a policy', () => {
  expect(parse({})).toBeUndefined()
  expect(parse({ pcrPolicyRevisionMin: 0 })).toBeUndefined()
  expect(parse({ pcrPolicy: POLICY })?.rules).toHaveLength(1)
  expect(parse(SIGNED)?.rules).toHaveLength(1)
})

describe('where a key is named', () => {
  const other = policy({ why: 'another' })
  const long = Buffer.alloc(256 * 1024 + 1, 0x20)
  test.each<[string, PolicyFile, string]>([
    [
      'a policy without its signature is refused',
      { ...SIGNED, pcrPolicySignature: undefined },
      'VERIFY_POLICY_SIGNATURE There is no signature.',
    ],
    [
      'no policy is refused, although a signature is there',
      { ...SIGNED, pcrPolicy: undefined },
      'VERIFY_POLICY_SIGNATURE There is no policy.',
    ],
    [
      'no policy and no signature is refused: the key says that there has to be one',
      { pcrPolicyKey: PEM },
      'VERIFY_POLICY_SIGNATURE There is no policy.',
    ],
    [
      'another policy is refused',
      { ...SIGNED, pcrPolicy: other },
      'VERIFY_POLICY_SIGNATURE undefined',
    ],
    [
      'a key that is none is told',
      { ...SIGNED, pcrPolicyKey: Buffer.from('no key') },
      'VERIFY_POLICY_SIGNATURE The key is none that may sign.',
    ],
    [
      'a file of more than a policy has is not looked at, signed or not',
      { ...SIGNED, pcrPolicy: long },
      'VERIFY_PCR_POLICY_FILE Longer than 262144 bytes.',
    ],
    [
      'what is no policy is refused, although it is signed',
      {
        ...SIGNED,
        pcrPolicy: Buffer.from('{}'),
        pcrPolicySignature: signatureOf(Buffer.from('{}')),
      },
      'VERIFY_PCR_POLICY_FILE format: invalid value.',
    ],
  ])('%s', (_, file, why) => {
    expect(refused(file)).toBe(why)
  })
})

test('a signature that nobody looks at is refused, with a policy and without one', () => {
  const why = 'VERIFY_POLICY_SIGNATURE A signature was given, and no key.'
  expect(refused({ ...SIGNED, pcrPolicyKey: undefined })).toBe(why)
  expect(refused({ pcrPolicySignature: SIGNED.pcrPolicySignature })).toBe(why)
})

describe('in force', () => {
  const at = (ms: number) => new Date(NOW_MS + ms).toISOString()
  const inForce = (members: object) => parse({ pcrPolicy: policy(members) })

  test('from the very time it names, up to and with the one that it ends', () => {
    expect(inForce({ notBefore: at(0), notAfter: at(0) })?.notBeforeMs).toBe(NOW_MS)
  })

  test.each<[string, object, string]>([
    ['a millisecond too early', { notBefore: at(1) }, 'In force from 2026-11-23T12:00:00.001Z.'],
    ['a millisecond too late', { notAfter: at(-1) }, 'In force until 2026-11-23T11:59:59.999Z.'],
  ])('not %s', (_, members, why) => {
    expect(detailOf(() => inForce(members))).toBe(`VERIFY_POLICY_TIME ${why}`)
  })
})

describe('a revision', () => {
  test('is the lowest that is taken, or a later one', () => {
    for (const revision of [7, 8]) {
      const pcrPolicy = policy({ revision })
      expect(parse({ pcrPolicy, pcrPolicyRevisionMin: 7 })?.revision).toBe(revision)
    }
    expect(() => requireRevision(0, 0)).not.toThrow()
  })

  test.each<[string, PolicyFile, string]>([
    [
      'that is lower',
      { pcrPolicy: policy({ revision: 6 }), pcrPolicyRevisionMin: 7 },
      'Expected: revision 7 or later. Found: revision 6.',
    ],
    [
      'that there is not, in a policy of before there were any',
      { pcrPolicy: POLICY, pcrPolicyRevisionMin: 1 },
      'Expected: revision 1 or later. Found: none.',
    ],
    ['of no policy at all', { pcrPolicyRevisionMin: 1 }, 'There is no policy.'],
  ])('%s is refused', (_, file, why) => {
    expect(refused(file)).toBe(`VERIFY_POLICY_REVISION ${why}`)
  })
})

test.each<[string, string, string]>([
  ['a member twice', '{"version":2,"version":1}', 'A member stands twice.'],
  ['no JSON', '{', 'It is not JSON in UTF-8.'],
  ['nesting', '['.repeat(20), 'It is nested too deeply.'],
])('a file with %s is refused for that', (_, text, why) => {
  expect(refused({ pcrPolicy: Buffer.from(text) })).toBe(`VERIFY_PCR_POLICY_FILE ${why}`)
})
