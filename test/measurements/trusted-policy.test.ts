import { execFile } from 'node:child_process'
import { generateKeyPairSync, sign } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type VerifyOptions, verifyEvidence } from '../../src/verify/index.ts'
import { bytesOf, genuineCaseOfFile, NOW } from '../harness/verify-case.ts'

/** Policies that are signed, dated and numbered; keys and signatures are OpenSSL's. */

const it = await genuineCaseOfFile()
let folder: string
const at = (name: string) => join(folder, name)
const openssl = (...args: string[]) => promisify(execFile)('openssl', args)

const KEYS = {
  'P-256': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'P-384': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  RSA: ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
  Ed25519: ['-algorithm', 'ED25519'],
  'RSA of 1024 bits': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024'],
  'a curve of no standard here': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:secp256k1'],
} as const
type KeyName = keyof typeof KEYS

const policyOf = (members: object = {}) =>
  JSON.stringify({
    format: 'metabind pcr policy',
    version: 2,
    bank: 'sha256',
    ...members,
    rules: [{ rule: 'values', pcr: 7, allowed: ['00'.repeat(32)] }],
  })

beforeAll(async () => {
  folder = await mkdtemp('/tmp/policy-')
  await writeFile(at('policy'), policyOf())
  await Promise.all(
    Object.entries(KEYS).map(async ([name, kind]) => {
      await openssl('genpkey', ...kind, '-out', at(name))
      await openssl('pkey', '-in', at(name), '-pubout', '-out', at(`${name}.pub`))
    }),
  )
})
afterAll(() => rm(folder, { recursive: true }))

async function signed(name: KeyName): Promise<Partial<VerifyOptions>> {
  const files = ['-out', at(`${name}.sig`)]
  if (name === 'Ed25519') {
    await openssl('pkeyutl', '-sign', '-rawin', '-inkey', at(name), '-in', at('policy'), ...files)
  } else {
    const hash = name === 'P-384' ? '-sha384' : '-sha256'
    await openssl('dgst', hash, '-sign', at(name), ...files, at('policy'))
  }
  return {
    pcrPolicy: await readFile(at('policy')),
    pcrPolicyKey: await readFile(at(`${name}.pub`)),
    pcrPolicySignature: await readFile(at(`${name}.sig`)),
  }
}

const verified = (options: Partial<VerifyOptions>) =>
  verifyEvidence(bytesOf(it.evidence), { ...it.options, ...options })

test.each(['P-256', 'P-384', 'RSA', 'Ed25519'] as const)(
  'signed by a key of %s: accepted',
  async (name) => {
    expect(verified(await signed(name)).proven).toContain('pcr-policy')
  },
)

test('signed by a key of ML-DSA-65, which the OpenSSL of today’s distributions has not: accepted', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ml-dsa-65')
  const pcrPolicy = Buffer.from(policyOf())
  const pcrPolicyKey = Buffer.from(publicKey.export({ type: 'spki', format: 'pem' }))
  const signatureOf = (bytes: Buffer) => sign(null, bytes, privateKey)
  const asked = { pcrPolicy, pcrPolicyKey, pcrPolicySignature: signatureOf(pcrPolicy) }
  expect(verified(asked).proven).toContain('pcr-policy')
  const other = { ...asked, pcrPolicySignature: signatureOf(Buffer.from('{}')) }
  expect(() => verified(other)).toThrow(
    expect.objectContaining({ code: 'VERIFY_POLICY_SIGNATURE' }),
  )
})

describe('VERIFY_POLICY_SIGNATURE', () => {
  const refused = (options: Partial<VerifyOptions>) =>
    expect(() => verified(options)).toThrow(
      expect.objectContaining({ code: 'VERIFY_POLICY_SIGNATURE', check: 'PCR policy file' }),
    )

  test.each<[string, (good: Partial<VerifyOptions>) => Promise<Partial<VerifyOptions>>]>([
    ['no signature', async (good) => ({ ...good, pcrPolicySignature: undefined })],
    ['an empty signature', async (good) => ({ ...good, pcrPolicySignature: Buffer.alloc(0) })],
    ['another policy', async (good) => ({ ...good, pcrPolicy: Buffer.from(`${policyOf()} `) })],
    [
      "another key's signature",
      async (good) => ({ ...good, pcrPolicySignature: (await signed('RSA')).pcrPolicySignature }),
    ],
    ['no policy', async (good) => ({ ...good, pcrPolicy: undefined })],
    [
      'a signature without a key to look at it',
      async (good) => ({ ...good, pcrPolicyKey: undefined }),
    ],
    ['a private key', async (good) => ({ ...good, pcrPolicyKey: await readFile(at('P-256')) })],
    [
      'a key that is none',
      async (good) => ({ ...good, pcrPolicyKey: Buffer.from('-----BEGIN PUBLIC KEY-----\nAA\n') }),
    ],
  ])('%s', async (_, change) => refused(await change(await signed('P-256'))))

  test.each(['RSA of 1024 bits', 'a curve of no standard here'] as const)(
    'a key that is too weak or unknown: %s',
    async (name) => {
      refused(await signed(name))
    },
  )
})

describe('VERIFY_POLICY_TIME', () => {
  const day = (days: number) => new Date(NOW.getTime() + days * 86_400_000).toISOString()
  test.each([
    ['not yet', { notBefore: day(1) }, `In force from ${day(1)}.`],
    ['no longer', { notAfter: day(-1) }, `In force until ${day(-1)}.`],
  ])('%s', (_, members, detail) => {
    const pcrPolicy = Buffer.from(policyOf(members))
    expect(() => verified({ pcrPolicy })).toThrow(
      expect.objectContaining({ code: 'VERIFY_POLICY_TIME', detail }),
    )
  })

  test('in force: accepted', () => {
    const pcrPolicy = Buffer.from(policyOf({ notBefore: day(-1), notAfter: day(1) }))
    expect(verified({ pcrPolicy }).proven).toContain('pcr-policy')
  })

  test.each(['2026-02-30T00:00:00Z', '2026', 'tomorrow', 20261123])(
    'a date that is none: %s',
    (notAfter) => {
      const pcrPolicy = Buffer.from(policyOf({ notAfter }))
      expect(() => verified({ pcrPolicy })).toThrow(
        expect.objectContaining({ code: 'VERIFY_PCR_POLICY_FILE' }),
      )
    },
  )
})

describe('a policy with a mistake says where it is', () => {
  test.each([
    [
      'a member of another name',
      { notafter: '2030-01-01T00:00:00Z' },
      'document: unknown member notafter.',
    ],
    ['a name that could be anything', { 'a b': 1 }, 'document: unknown member.'],
  ])('%s', (_, members, detail) => {
    const pcrPolicy = Buffer.from(policyOf(members))
    expect(() => verified({ pcrPolicy })).toThrow(
      expect.objectContaining({ code: 'VERIFY_PCR_POLICY_FILE', detail }),
    )
  })
})

test('a rule of a kind that there is not is told by its place', () => {
  const pcrPolicy = Buffer.from(policyOf().replace('"values"', '"value"'))
  const detail = 'rules.0.rule: none of what it may be.'
  expect(() => verified({ pcrPolicy })).toThrow(expect.objectContaining({ detail }))
})

describe('revisions', () => {
  const revision = (number?: number) => Buffer.from(policyOf({ revision: number }))
  const refused = (options: Partial<VerifyOptions>) =>
    expect(() => verified(options)).toThrow(
      expect.objectContaining({ code: 'VERIFY_POLICY_REVISION' }),
    )

  test('a lower one than demanded, none, and no policy at all: refused', () => {
    refused({ pcrPolicy: revision(6), pcrPolicyRevisionMin: 7 })
    refused({ pcrPolicy: revision(), pcrPolicyRevisionMin: 1 })
    refused({ pcrPolicyRevisionMin: 1 })
    refused({ pcrPolicy: revision(7), pcrPolicyRevisionMin: Number.NaN })
    expect(
      verified({ pcrPolicy: revision(7), pcrPolicyRevisionMin: 7 }).record.policyRevision,
    ).toBe(7)
  })

  test('the record keeps the highest, and no policy goes back behind it', () => {
    const { record } = verified({ pcrPolicy: revision(7) })
    const last = { ...record, clockMs: record.clockMs - 1 }
    expect(verified({ pcrPolicy: revision(7), last }).record.policyRevision).toBe(7)
    expect(verified({ pcrPolicy: revision(8), last }).record.policyRevision).toBe(8)
    expect(verified({ last }).record.policyRevision).toBe(7)
    refused({ pcrPolicy: revision(6), last })
    refused({ pcrPolicy: revision(), last })
  })
})
