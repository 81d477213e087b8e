import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { encodeEvidence } from '../../src/format/evidence.ts'
import {
  ALIYUN_EKMF_CERTIFICATE,
  anchorNeeds,
  joinTrust,
  TRUST_SETS,
  verifyEvidence,
} from '../../src/verify/index.ts'
import { makeAuthority, makeEkCertificate, newKey, spkiOf } from '../harness/certificate.ts'
import { AUTHORITY_EXTENSIONS, LEAF_EXTENSIONS, opensslPki } from '../harness/openssl-pki.ts'
import { bytesOf, genuineCaseOfFile, INSTANCE_ID } from '../harness/verify-case.ts'

/** Whom to trust: sets with a name, makers in a directory, and what a certificate needs. */

const it = await genuineCaseOfFile()
const pki = opensslPki()
const root = pki.certificate({ subject: '/C=DE/O=Maker/CN=Root', extensions: AUTHORITY_EXTENSIONS })
const between = pki.certificate({
  subject: '/C=DE/O=Maker/CN=Between',
  extensions: [
    ...AUTHORITY_EXTENSIONS,
    'authorityInfoAccess = caIssuers;URI:http://a.example/root',
  ],
  under: root,
})
const leaf = pki.certificate({
  subject: '/CN=TPM',
  extensions: [
    ...LEAF_EXTENSIONS,
    'authorityInfoAccess = OCSP;URI:http://a.example/ocsp,caIssuers;URI:http://a.example/between',
    'crlDistributionPoints = URI:http://a.example/list',
  ],
  under: between,
})

describe('anchorNeeds', () => {
  test('the issuer that is missing, and where its certificate may be', () => {
    const [needs, ...more] = anchorNeeds(leaf.der, TRUST_SETS)
    expect(more).toEqual([])
    expect(needs).toMatchObject({
      of: 'certificate',
      isAnchored: false,
      missing: 'issuer',
      certificates: [
        {
          subject: 'CN=TPM',
          issuer: 'C=DE, O=Maker, CN=Between',
          issuerUrls: ['http://a.example/between'],
          crlUrls: ['http://a.example/list'],
          foundIn: ['file'],
          anchorOf: [],
        },
      ],
    })
  })

  test('which set has what, up to its anchor', () => {
    const maker = { ekAnchors: [root.der], intermediates: [between.der] }
    const [needs] = anchorNeeds(leaf.der, { ...TRUST_SETS, maker })
    expect(needs).toMatchObject({ isAnchored: true, missing: undefined })
    const found = needs?.certificates.map(({ foundIn, anchorOf }) => [foundIn, anchorOf])
    expect(found).toEqual([
      [['file'], []],
      [['maker'], []],
      [['maker'], ['maker']],
    ])
  })

  test('a root that nobody trusts is missing as an anchor', () => {
    const pem = Buffer.concat([leaf, between, root].map(({ der }) => pemOf(der)))
    const [needs] = anchorNeeds(pem, {})
    expect(needs).toMatchObject({ isAnchored: false, missing: 'anchor' })
    expect(needs?.certificates).toHaveLength(3)
  })

  test('one that stands for itself and another, in a ring, ends', () => {
    const [one, other] = [makeAuthority('One'), makeAuthority('Other')]
    const crossed = makeAuthority('One', { issuer: 'Other', signer: other.key }, undefined, one.key)
    const back = makeAuthority('Other', { issuer: 'One', signer: one.key }, undefined, other.key)
    const end = makeEkCertificate(one, spkiOf(newKey()))
    const pem = Buffer.concat([end, crossed.der, back.der].map(pemOf))
    expect(anchorNeeds(pem, {})[0]).toMatchObject({ isAnchored: false, missing: 'issuer' })
  })

  test('of evidence, those of EK and AK', () => {
    const { evidence, authority } = it
    const certificate = makeEkCertificate(makeAuthority('Another'), it.ekSpki)
    const both = { ...evidence, ak: { ...evidence.ak, certificates: [certificate] } }
    const needs = anchorNeeds(bytesOf(both), { own: { ekAnchors: [authority.der] } })
    expect(needs.map(({ of, isAnchored }) => [of, isAnchored])).toEqual([
      ['EK', true],
      ['AK', false],
    ])
    expect(anchorNeeds(Buffer.from('nothing'), {})).toEqual([])
  })
})

test('joined trust is that of all its parts', () => {
  const trust = joinTrust(TRUST_SETS.aliyun, { ekAnchors: [it.authority.der] }, it.options.trust)
  const verified = verifyEvidence(bytesOf(it.evidence), { ...it.options, trust })
  expect(verified.instanceId).toBe(INSTANCE_ID)
})

function pemOf(der: Buffer): Buffer {
  const lines = der.toString('base64').replace(/.{64}/g, '$&\n')
  return Buffer.from(`-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`)
}

describe('the command', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'trust-'))
  afterAll(() => rm(directory, { recursive: true }))
  const at = (name: string) => join(directory, name)
  for (const maker of ['Ours', 'Theirs']) {
    await mkdir(at(`makers/${maker}/RootCA`), { recursive: true })
    await mkdir(at(`makers/${maker}/IntermediateCA`))
  }
  await writeFile(at('makers/readme.txt'), 'for people')
  await writeFile(at('makers/Ours/RootCA/root.CER'), it.authority.der)
  await writeFile(at('makers/Ours/IntermediateCA/between.crt'), makeAuthority('Between').der)
  await writeFile(at('makers/Theirs/RootCA/root.cer'), root.der)
  await writeFile(at('makers/Theirs/IntermediateCA/between.crt'), between.der)
  await writeFile(at('evidence.json'), encodeEvidence(it.evidence))
  await writeFile(at('leaf.der'), leaf.der)
  await writeFile(at('ekmf.pem'), ALIYUN_EKMF_CERTIFICATE)
  await writeFile(at('none.pem'), 'nothing')
  await writeFile(at('identity.pem'), it.signer.certificatePem)

  const run = (...args: readonly string[]) =>
    new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      execFile(process.execPath, ['src/cli.ts', 'verify', ...args], (error, stdout, stderr) =>
        resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
      )
    })
  const asked = [
    ...[at('evidence.json'), '--nonce', it.nonce.toString('hex')],
    ...['--identity-certificate', at('identity.pem'), '--allow-provisional'],
  ]

  test('--trust takes a maker, all makers, and a name, beside each other', async () => {
    expect((await run(...asked, '--trust', at('makers/Ours'))).code).toBe(0)
    expect((await run(...asked, '--trust', at('makers'))).code).toBe(0)
    expect((await run(...asked, '--trust', 'aliyun', '--trust', at('makers/Ours'))).code).toBe(0)
  })

  test('--trust trusts nobody else', async () => {
    for (const word of ['aliyun', at('makers/Theirs')]) {
      const { code, stderr } = await run(...asked, '--trust', word)
      expect([code, stderr]).toEqual([1, expect.stringContaining('VERIFY_CERTIFICATE_ISSUER')])
    }
  })

  test('--trust of what is neither is refused', async () => {
    expect((await run(...asked, '--trust', 'nobody')).code).toBe(2)
    const { code, stderr } = await run(...asked, '--trust', directory)
    expect([code, stderr]).toEqual([1, expect.stringContaining('FILE_UNUSABLE')])
  })

  test('of many files the one that cannot be used is named', async () => {
    await mkdir(at('bad/Ours/RootCA'), { recursive: true })
    await writeFile(at('bad/Ours/RootCA/a-root.crt'), it.authority.der)
    await writeFile(at('bad/Ours/RootCA/broken.crt'), Buffer.from('3003020101', 'hex'))
    const broken = new RegExp(`VERIFY_ANCHOR: .* ${at('bad/Ours/RootCA/broken.crt')}: `)
    for (const words of [asked, ['anchors', at('leaf.der')]]) {
      expect((await run(...words, '--trust', at('bad'))).stderr).toMatch(broken)
    }
    const list = await run(...asked, '--trust', at('makers'), '--crls', at('none.pem'))
    expect(list.stderr).toContain(`${at('none.pem')}: `)
  })

  test('anchors says in words what is missing, and ends with 3', async () => {
    const { code, stdout } = await run('anchors', at('leaf.der'))
    expect(code).toBe(3)
    expect(stdout).toContain('certificate   CN=TPM\n')
    expect(stdout).toContain('missing       its issuer: C=DE, O=Maker, CN=Between\n')
    expect(stdout).toContain('  may be at   http://a.example/between\n')
  })

  test('anchors says which set has it, and ends with 0', async () => {
    const { code, stdout } = await run('anchors', at('leaf.der'), '--trust', at('makers'))
    expect(code).toBe(0)
    expect(stdout).toContain(`  anchor of   ${at('makers')}\n`)
    const known = await run('anchors', at('ekmf.pem'), '--json')
    expect(JSON.parse(known.stdout)).toMatchObject({
      schema: 'metabind.verify-anchors/1',
      chains: [{ isAnchored: true, certificates: [{ anchorOf: ['aliyun'] }] }],
    })
  })

  test('anchors of a file without certificates says so', async () => {
    const { code, stdout } = await run('anchors', at('none.pem'))
    expect([code, stdout]).toEqual([3, expect.stringContaining('no certificate')])
  })
})
