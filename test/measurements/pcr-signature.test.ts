import { execFile } from 'node:child_process'
import { createHash, createSign, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openTpm, type Tpm } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { tpm2 } from '../../native/tpm2-js/test/tools.ts'
import { verifyEvidence } from '../../src/verify/index.ts'
import { gatherEvidence } from '../harness/evidence.ts'
import { bytesOf, genuineCase, refusalOf, type VerifyCase } from '../harness/verify-case.ts'

/** Signed PCR 11 of unified kernel images: what systemd-measure signs, of a TPM that was extended as systemd-stub does. */

const SYSTEMD_MEASURE = '/usr/lib/systemd/systemd-measure'
const SECTIONS = { linux: 'kernel', osrel: 'ID=debian\n', cmdline: 'ro quiet' } as const
const PHASES = ['enter-initrd', 'leave-initrd', 'sysinit', 'ready']
const PHASE = PHASES.join(':')

const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const pem = (key: KeyObject) =>
  key.type === 'public'
    ? key.export({ type: 'spki', format: 'pem' }).toString()
    : key.export({ type: 'pkcs8', format: 'pem' }).toString()

const hash = (bytes: string | Buffer) => createHash('sha256').update(bytes).digest('hex')

let swtpm: Swtpm
let tpm: Tpm
let it: VerifyCase
let folder: string
const at = (name: string) => join(folder, name)

beforeAll(async () => {
  folder = await mkdtemp('/tmp/pcrsig-')
  swtpm = await startSwtpm()
  const measured = [
    ...Object.entries(SECTIONS).flatMap(([name, data]) => [`.${name}\0`, data]),
    ...PHASES,
  ]
  await tpm2(swtpm, 'pcrextend', ...measured.map((bytes) => `11:sha256=${hash(bytes)}`))
  tpm = await openTpm({ tcti: swtpm.tcti })
  const genuine = await genuineCase(tpm)
  const { nonce, evidence } = genuine
  const { certificates } = evidence.ek
  const quoted = await gatherEvidence(tpm, {
    nonce,
    pcrs: [7, 11],
    certificates,
    ...evidence.identityDocument,
  })
  it = { ...genuine, evidence: quoted }
})
afterAll(async () => {
  await tpm.close()
  await swtpm.stop()
  await rm(folder, { recursive: true })
})

/** By tpm2_policypcr, which asks a TPM: the digest that is to be signed. */
async function policyDigest(pcrs = '11'): Promise<Buffer> {
  await tpm2(swtpm, 'startauthsession', '-S', at('session'))
  await tpm2(swtpm, 'policypcr', '-S', at('session'), '-l', `sha256:${pcrs}`, '-L', at('policy'))
  await tpm2(swtpm, 'flushcontext', at('session'))
  return readFile(at('policy'))
}

interface Entry {
  readonly pcrs: readonly number[]
  readonly pkfp?: string
  readonly pol: string
  readonly sig: string
  readonly ref?: string
}

async function entry({
  pcrs = '11',
  ref,
  key = privateKey,
  algorithm = 'sha256',
}: {
  pcrs?: string
  ref?: string
  key?: KeyObject
  algorithm?: string
} = {}): Promise<Entry> {
  const policy = await policyDigest(pcrs)
  const sign = createSign(algorithm).update(policy)
  if (ref !== undefined) sign.update(Buffer.from(hash(ref), 'hex'))
  return {
    pcrs: pcrs.split(',').map(Number),
    pkfp: hash(publicKey.export({ type: 'spki', format: 'der' })),
    ...(ref === undefined ? {} : { ref }),
    pol: policy.toString('hex'),
    sig: sign.sign(key).toString('base64'),
  }
}

const signatures = (...entries: readonly object[]) =>
  Buffer.from(JSON.stringify({ sha256: entries }))

const policyOf = (members: object = {}) =>
  Buffer.from(
    JSON.stringify({
      format: 'metabind pcr policy',
      version: 2,
      bank: 'sha256',
      rules: [{ rule: 'signed-pcrs', pcrs: [11], publicKey: pem(publicKey), ...members }],
    }),
  )

const verified = (pcrSignatures: Buffer | undefined, members: object = {}) =>
  verifyEvidence(bytesOf(it.evidence), {
    ...it.options,
    pcrPolicy: policyOf(members),
    pcrSignatures,
  })

describe('signed as systemd does', () => {
  test('the entry that is of the quoted value is found among others', async () => {
    const other = { ...(await entry()), pol: '00'.repeat(32) }
    const { policy } = verified(signatures(other, await entry()))
    expect(policy).toEqual(['sha256 PCR 11 is signed: entry 2 of sha256'])
  })

  test('with a policy reference, which the rule names', async () => {
    const file = signatures(await entry({ ref: 'initrd' }))
    expect(verified(file, { ref: 'initrd' }).proven).toContain('pcr-policy')
  })

  test('over several PCRs', async () => {
    const file = signatures(await entry({ pcrs: '7,11' }))
    expect(verified(file, { pcrs: [11, 7] }).proven).toContain('pcr-policy')
  })

  test('in a section that is padded with NULs', async () => {
    const file = Buffer.concat([signatures(await entry()), Buffer.alloc(100)])
    expect(verified(file).proven).toContain('pcr-policy')
  })

  test.skipIf(!existsSync(SYSTEMD_MEASURE))('by systemd-measure itself', async () => {
    const sections = Object.entries(SECTIONS)
    for (const [name, data] of sections) await writeFile(at(name), data)
    await writeFile(at('key'), pem(privateKey))
    await writeFile(at('key.pub'), pem(publicKey))
    const { stdout } = await promisify(execFile)(SYSTEMD_MEASURE, [
      'sign',
      ...sections.map(([name]) => `--${name}=${at(name)}`),
      ...[`--private-key=${at('key')}`, `--public-key=${at('key.pub')}`, '--bank=sha256'],
      ...['--phase=enter-initrd', `--phase=${PHASE}`, `--tpm2-device=${swtpm.tcti}`],
    ])
    expect(verified(Buffer.from(stdout)).policy).toEqual([
      expect.stringMatching(/^sha256 PCR 11 is signed: entry [12] of sha256$/),
    ])
  })
})

describe('refused', () => {
  const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 })
  test.each<[string, () => Promise<Buffer | undefined>, object, string]>([
    ['no signatures', async () => undefined, {}, 'no signatures of sha256 PCR 11 were given'],
    [
      "another key's",
      async () => signatures(await entry({ key: stranger.privateKey })),
      {},
      'no signature of the key',
    ],
    [
      'one of another value',
      async () => signatures({ ...(await entry()), pol: '11'.repeat(32) }),
      {},
      'no signature of the key',
    ],
    [
      'one that says of other PCRs what it is of PCR 11',
      async () => signatures({ ...(await entry()), pcrs: [7] }),
      { pcrs: [7] },
      'no signature of the key',
    ],
    [
      'one of fewer PCRs',
      async () => signatures(await entry()),
      { pcrs: [7, 11] },
      'no signature of the key',
    ],
    [
      'one for a policy reference that the rule does not name',
      async () => signatures(await entry({ ref: 'initrd' })),
      {},
      'no signature of the key',
    ],
    [
      'one for none, if the rule names a reference',
      async () => signatures(await entry()),
      { ref: 'initrd' },
      'no signature of the key',
    ],
    [
      'one that only calls itself by the reference',
      async () => signatures({ ...(await entry()), ref: 'initrd' }),
      { ref: 'initrd' },
      'no signature of the key',
    ],
    [
      'one by SHA-1',
      async () => signatures(await entry({ algorithm: 'sha1' })),
      {},
      'no signature of the key',
    ],
    [
      'a PCR that is not quoted',
      async () => signatures(await entry()),
      { pcrs: [12] },
      'sha256 PCR 12 is not quoted',
    ],
  ])('%s', async (_, file, members, why) => {
    const given = await file()
    expect(() => verified(given, members)).toThrow(
      expect.objectContaining({ code: 'VERIFY_PCR_POLICY', detail: expect.stringContaining(why) }),
    )
  })

  test.each([
    ['what is no JSON', 'pcrsig'],
    ['an entry of no PCR', '{"sha256":[{"pcrs":[],"pol":"","sig":""}]}'],
    [
      'more entries than any image has',
      JSON.stringify({
        sha256: Array.from({ length: 65 }, () => ({
          pcrs: [11],
          pol: '00'.repeat(32),
          sig: 'AA==',
        })),
      }),
    ],
    ['what is too long', ' '.repeat(70_000)],
  ])('%s', (_, text) => {
    const { code, check } = refusalOf(() => verified(Buffer.from(text)))
    expect([code, check]).toEqual(['VERIFY_PCR_SIGNATURES', 'PCR signatures'])
  })

  test('a key of the rule that may not sign', () => {
    const publicKey = pem(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey)
    expect(refusalOf(() => verified(undefined, { publicKey })).code).toBe('VERIFY_PCR_POLICY_FILE')
  })
})
