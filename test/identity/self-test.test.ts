import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { keyObjectOf, spkiDigest } from '../../src/format/tpm-key.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { type AttesterDeps, attesterOf } from '../../src/identity/attester.ts'
import type { SelfTestPolicy, SelfTestResult } from '../../src/identity/self-test.ts'
import { createInstanceKeys, type InstanceKeys, instanceTpm } from '../../src/identity/tpm.ts'
import { createSigner, type Signer } from '../../src/simulate/signer.ts'
import type { Trust } from '../../src/verify/trust.ts'
import {
  AK_EXTENSIONS,
  EK_EXTENSIONS,
  type Issuer,
  makeAuthority,
  makeCertificate,
  makeEkCertificate,
  newKey,
  spkiOf,
} from '../harness/certificate.ts'
import { EK_CERTIFICATE_NV, writeNv } from '../harness/nv.ts'

/** The agent as its own verifier, on real TPMs: what is demanded, and what the platform has. */

const INSTANCE_ID = 'i-bp1234567890abcdefgh'

let stack: AsyncDisposableStack
let authority: Issuer
let stranger: Issuer
let signer: Signer
let otherSigner: Signer
/** A TPM of a manufacturer, with an RSA and a P-384 EK; one without any certificate. */
let certified: Swtpm
let bare: Swtpm
let manufacturer: Buffer[]

beforeAll(async () => {
  stack = new AsyncDisposableStack()
  authority = makeAuthority('Test EK Authority')
  stranger = makeAuthority('Another Authority')
  ;[signer, otherSigner] = await Promise.all([createSigner(), createSigner()])
  certified = await startSwtpm({ setup: true })
  stack.defer(() => certified.stop())
  bare = await startSwtpm()
  stack.defer(() => bare.stop())
  manufacturer = await Promise.all(
    ['issuercert.pem', 'swtpm-localca-rootca-cert.pem'].map((file) =>
      readFile(join(certified.dir, 'ca', file)),
    ),
  )
})
afterAll(() => stack.disposeAsync())

interface Circumstances {
  readonly policy?: Partial<Omit<SelfTestPolicy, 'trust'>>
  readonly trust?: Trust
  readonly akCertificates?: readonly Buffer[]
  readonly readIdentityDocument?: AttesterDeps['readIdentityDocument']
}

/** Runs one self-test; what is not given is `prefer`, and there is no anchor and no document. */
async function tested(swtpm: Swtpm, circumstances: Circumstances = {}): Promise<SelfTestResult> {
  const tpm = instanceTpm(swtpm.tcti, 10_000)
  try {
    const keys = await createInstanceKeys(tpm, circumstances.policy?.ekCertificate)
    const { policy, trust = {}, akCertificates = [] } = circumstances
    const parts: AttesterDeps = {
      tpm,
      dialect: 'aliyun',
      pcrs: { hash: 'sha256', pcrs: [0, 7] },
      akCertificates,
      logFiles: {},
      readIdentityDocument: circumstances.readIdentityDocument ?? (async () => undefined),
      policy: () => ({
        trust: { identityCertificate: Buffer.from(signer.certificatePem), ...trust },
        ekCertificate: 'prefer',
        ekInstance: 'prefer',
        identityDocument: 'prefer',
        ...policy,
      }),
    }
    const identity = {
      dialect: 'aliyun',
      instanceId: INSTANCE_ID,
      ekName: keys.ek.name,
      akName: keys.ak.name,
      rkName: keys.rk.name,
    }
    return await attesterOf(parts, keys, identity).selfTest()
  } finally {
    await tpm.close()
  }
}

async function keysOf(swtpm: Swtpm): Promise<InstanceKeys> {
  const tpm = instanceTpm(swtpm.tcti, 10_000)
  try {
    return await createInstanceKeys(tpm)
  } finally {
    await tpm.close()
  }
}

const spkiOfKey = (publicArea: Buffer): Buffer =>
  keyObjectOf(parsePublic(publicArea)).export({ type: 'spki', format: 'der' })

/** The anchor of a self-test that passes, else the code that it is refused with. */
async function outcome(swtpm: Swtpm, circumstances: Circumstances): Promise<string> {
  try {
    return (await tested(swtpm, circumstances)).anchor
  } catch (error) {
    if (error instanceof Error && 'code' in error) return String(error.code)
    throw error
  }
}

describe('ek_certificate', () => {
  const REQUIRE = { ekCertificate: 'require' } as const
  const PREFER = { ekCertificate: 'prefer' } as const
  const IGNORE = { ekCertificate: 'ignore' } as const
  const none = (): Trust => ({})
  const right = (): Trust => ({ ekAnchors: manufacturer })
  const wrong = (): Trust => ({ ekAnchors: [stranger.der] })

  test.each([
    ['a certificate and its anchors', REQUIRE, right, 'ek-certificate'],
    ['a certificate and its anchors', PREFER, right, 'ek-certificate'],
    ['a certificate and its anchors', IGNORE, right, 'none'],
    ['a certificate and other anchors', REQUIRE, wrong, 'VERIFY_CERTIFICATE_ISSUER'],
    ['a certificate and other anchors', PREFER, wrong, 'none'],
    ['a certificate and other anchors', IGNORE, wrong, 'none'],
    ['a certificate and no anchors', REQUIRE, none, 'VERIFY_UNANCHORED'],
    ['a certificate and no anchors', PREFER, none, 'none'],
    ['a certificate and no anchors', IGNORE, none, 'none'],
  ])('%s: %o', async (_has, policy, trust, expected) => {
    expect(await outcome(certified, { policy, trust: trust() })).toBe(expected)
  })

  test.each([
    ['anchors', REQUIRE, right, 'VERIFY_UNANCHORED'],
    ['anchors', PREFER, right, 'none'],
    ['anchors', IGNORE, right, 'none'],
    ['nothing', REQUIRE, none, 'VERIFY_UNANCHORED'],
    ['nothing', PREFER, none, 'none'],
  ])('no certificate and %s: %o', async (_has, policy, trust, expected) => {
    expect(await outcome(bare, { policy, trust: trust() })).toBe(expected)
  })

  test('what was proven is told from what the platform lacks', async () => {
    expect(await tested(certified, { trust: right() })).toEqual({
      anchor: 'ek-certificate',
      proven: ['ek-genuine', 'ak-in-tpm'],
      lacked: ['instance-from-cloud', 'instance-from-ek', 'event-log'],
    })
    expect(await tested(bare)).toEqual({
      anchor: 'none',
      proven: ['ak-in-tpm'],
      lacked: ['ek-genuine', 'instance-from-cloud', 'instance-from-ek', 'event-log'],
    })
  })

  test('a pinned EK stands for a certificate, another pin does not', async () => {
    const ekPins = [spkiDigest(parsePublic((await keysOf(bare)).ek.publicArea))]
    expect(await outcome(bare, { policy: REQUIRE, trust: { ekPins } })).toBe('ek-pin')
    const others = [randomBytes(32).toString('hex')]
    const trust = { ekPins: others }
    expect(await outcome(bare, { policy: REQUIRE, trust })).toBe('VERIFY_UNANCHORED')
  })
})

describe('a certificate of the AK', () => {
  const akCertificate = async (publicKey?: Buffer): Promise<Buffer> =>
    makeCertificate({
      subject: 'An AK',
      issuer: authority.name,
      signer: authority.key,
      publicKey: publicKey ?? spkiOfKey((await keysOf(bare)).ak.publicArea),
      extensions: AK_EXTENSIONS,
    })
  const policy = { ekCertificate: 'require' } as const

  test('stands for one of the EK, where its anchors are known', async () => {
    const akCertificates = [await akCertificate()]
    const trust = { akAnchors: [authority.der] }
    expect(await outcome(bare, { policy, akCertificates, trust })).toBe('ak-certificate')
    expect((await tested(bare, { akCertificates, trust })).lacked).toContain('ek-genuine')
  })

  test('does not under other anchors, or under those of EKs', async () => {
    const akCertificates = [await akCertificate()]
    const others = { akAnchors: [stranger.der] }
    const refused = await outcome(bare, { policy, akCertificates, trust: others })
    expect(refused).toBe('VERIFY_CERTIFICATE_ISSUER')
    const ofEks = { ekAnchors: [authority.der] }
    expect(await outcome(bare, { policy, akCertificates, trust: ofEks })).toBe('VERIFY_UNANCHORED')
  })

  test('of another key is refused, though it is preferred only', async () => {
    const akCertificates = [await akCertificate(spkiOf(newKey()))]
    const trust = { akAnchors: [authority.der] }
    expect(await outcome(bare, { akCertificates, trust })).toBe('VERIFY_CERTIFICATE_KEY')
  })
})

describe('the EK certificate and the instance id', () => {
  /** A TPM whose EK certificate has this common name. */
  async function namedTpm(subject: string): Promise<Swtpm> {
    const named = await startSwtpm()
    stack.defer(() => named.stop())
    const publicKey = spkiOfKey((await keysOf(named)).ek.publicArea)
    const fields = { subject, extensions: EK_EXTENSIONS }
    await writeNv(named, EK_CERTIFICATE_NV, makeEkCertificate(authority, publicKey, fields))
    return named
  }
  const demands = ['require', 'prefer', 'ignore'] as const
  const outcomes = async (subject: string) => {
    const named = await namedTpm(subject)
    const trust = { ekAnchors: [authority.der] }
    const found: Record<string, string> = {}
    for (const ekInstance of demands) {
      found[ekInstance] = await outcome(named, { trust, policy: { ekInstance } })
    }
    return found
  }
  const accepted = 'ek-certificate'
  const refused = 'VERIFY_EK_INSTANCE'

  test('the instance id itself', async () => {
    expect(await outcomes(INSTANCE_ID)).toEqual({
      require: accepted,
      prefer: accepted,
      ignore: accepted,
    })
  })

  test('another instance id', async () => {
    expect(await outcomes('i-bpanotherinstance')).toEqual({
      require: refused,
      prefer: refused,
      ignore: accepted,
    })
  })

  test('a name that is no instance id, as on other clouds', async () => {
    expect(await outcomes('Virtual TPM 7')).toEqual({
      require: refused,
      prefer: accepted,
      ignore: accepted,
    })
  })

  test('an unanchored certificate proves no instance', async () => {
    const named = await namedTpm(INSTANCE_ID)
    expect(await outcome(named, { policy: { ekInstance: 'require' } })).toBe(refused)
  })
})

test('the EK certificate of another TPM is refused, whatever is demanded and trusted', async () => {
  const robbed = await startSwtpm()
  stack.defer(() => robbed.stop())
  const publicKey = spkiOfKey((await keysOf(bare)).ek.publicArea)
  await writeNv(robbed, EK_CERTIFICATE_NV, makeEkCertificate(authority, publicKey))
  const trust = { ekAnchors: [authority.der] }
  for (const ekCertificate of ['require', 'prefer'] as const) {
    const policy = { ekCertificate }
    expect(await outcome(robbed, { policy, trust })).toBe('VERIFY_CERTIFICATE_KEY')
    expect(await outcome(robbed, { policy })).toBe('VERIFY_CERTIFICATE_KEY')
  }
  expect(await outcome(robbed, { policy: { ekCertificate: 'ignore' }, trust })).toBe('none')
})

test('an expired EK certificate is no reason to do without', async () => {
  const expired = await startSwtpm()
  stack.defer(() => expired.stop())
  const publicKey = spkiOfKey((await keysOf(expired)).ek.publicArea)
  const notAfter = new Date('2021-01-01')
  await writeNv(expired, EK_CERTIFICATE_NV, makeEkCertificate(authority, publicKey, { notAfter }))
  const trust = { ekAnchors: [authority.der] }
  expect(await outcome(expired, { trust })).toBe('VERIFY_CERTIFICATE_TIME')
})

describe('identity_document', () => {
  const REQUIRE = { identityDocument: 'require' } as const
  const PREFER = { identityDocument: 'prefer' } as const
  const IGNORE = { identityDocument: 'ignore' } as const

  const document = (by: () => Signer, members: Record<string, string> = {}) => {
    const read = async (audience: string) => {
      const content = { 'zone-id': 'cn-hangzhou-i', 'instance-id': INSTANCE_ID, audience }
      return Buffer.from(by().signPkcs7(JSON.stringify({ ...content, ...members })), 'base64')
    }
    return read
  }
  const genuine = document(() => signer)
  const ofOther = document(() => otherSigner)
  const absent = async () => undefined

  test.each([
    ['genuine', genuine, REQUIRE, 'none'],
    ['absent', absent, REQUIRE, 'VERIFY_DOCUMENT_ABSENT'],
    ['absent', absent, PREFER, 'none'],
    ['absent', absent, IGNORE, 'none'],
    ['signed by another', ofOther, REQUIRE, 'VERIFY_DOCUMENT_SIGNATURE'],
    ['signed by another', ofOther, PREFER, 'VERIFY_DOCUMENT_SIGNATURE'],
    ['signed by another', ofOther, IGNORE, 'none'],
  ])('%s: %o', async (_what, readIdentityDocument, policy, expected) => {
    expect(await outcome(bare, { policy, readIdentityDocument })).toBe(expected)
  })

  test.each([
    ['another instance', { 'instance-id': 'i-another' }, 'VERIFY_DOCUMENT_INSTANCE'],
    ['another audience', { audience: 'replayed' }, 'VERIFY_DOCUMENT_AUDIENCE'],
  ])('of %s is refused', async (_what, members, expected) => {
    const readIdentityDocument = document(() => signer, members)
    expect(await outcome(bare, { readIdentityDocument })).toBe(expected)
  })

  test('is proof of the instance only where it is looked at', async () => {
    const readIdentityDocument = genuine
    const { proven } = await tested(bare, { readIdentityDocument })
    expect(proven).toContain('instance-from-cloud')
    const { lacked } = await tested(bare, { readIdentityDocument, policy: IGNORE })
    expect(lacked).toContain('instance-from-cloud')
  })

  test('is asked for with another nonce each time', async () => {
    const audiences: string[] = []
    const readIdentityDocument = async (audience: string) => {
      audiences.push(audience)
      return undefined
    }
    for (let tests = 0; tests < 3; tests += 1) await tested(bare, { readIdentityDocument })
    expect(new Set(audiences).size).toBe(3)
  })

  test('is not asked for where it is ignored', async () => {
    const readIdentityDocument = async () => Promise.reject(new Error('it was asked for'))
    expect(await outcome(bare, { readIdentityDocument, policy: IGNORE })).toBe('none')
  })
})
