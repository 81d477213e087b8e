import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { encodeEvidence } from '../../src/format/evidence.ts'
import { ALIYUN_EKMF_CERTIFICATE } from '../../src/verify/index.ts'
import { makeAuthority } from '../harness/certificate.ts'
import { AUTHORITY_EXTENSIONS, LEAF_EXTENSIONS, opensslPki } from '../harness/openssl-pki.ts'
import { CLI } from '../harness/programs.ts'
import { genuineCaseOfFile } from '../harness/verify-case.ts'

/** Whom the command trusts: sets with a name, makers in a directory; and what a certificate needs, in its words. */

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
      execFile(process.execPath, [CLI, 'verify', ...args], (error, stdout, stderr) =>
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
