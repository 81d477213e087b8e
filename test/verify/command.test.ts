import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openTpm, type Tpm } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { decodeChallenge, encodeAnswer } from '../../src/format/activation.ts'
import { encodeEvidence } from '../../src/format/evidence.ts'
import { AK_TEMPLATE, EK_TEMPLATES } from '../../src/format/tpm-templates.ts'
import { forge } from '../harness/attacker.ts'
import { makeAuthority, makeEkCertificate } from '../harness/certificate.ts'
import { gatherEvidence } from '../harness/evidence.ts'
import { genuineCase, INSTANCE_ID, type VerifyCase } from '../harness/verify-case.ts'

/** `metabind verify` as a person or a script runs it: no agent, no TPM. */

let swtpm: Swtpm
let tpm: Tpm
let it: VerifyCase
let directory: string
beforeAll(async () => {
  swtpm = await startSwtpm()
  tpm = await openTpm({ tcti: swtpm.tcti })
  it = await genuineCase(tpm)
  directory = await mkdtemp('/tmp/verify-')
  await mkdir(at('anchors'))
  await writeFile(at('anchors/root.der'), it.authority.der)
  await writeFile(at('identity.pem'), it.signer.certificatePem)
  await writeFile(at('evidence.json'), encodeEvidence(it.evidence))
})
afterAll(async () => {
  await tpm.close()
  await swtpm.stop()
  await rm(directory, { recursive: true })
})

const at = (file: string) => join(directory, file)

interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

async function metabind(...args: string[]): Promise<Finished> {
  try {
    const done = await promisify(execFile)(process.execPath, ['src/cli.ts', 'verify', ...args])
    return { code: 0, ...done }
  } catch (error) {
    const { code, stdout, stderr } = error as Finished // what execFile rejects with
    return { code, stdout, stderr }
  }
}

const pinOf = ({ ekSpki }: VerifyCase) => createHash('sha256').update(ekSpki).digest('hex')

const asked = () => [
  ...['--nonce', it.nonce.toString('hex'), '--anchors', at('anchors')],
  ...['--identity-certificate', at('identity.pem'), '--instance-id', INSTANCE_ID],
]

describe('metabind verify', () => {
  test('says what is proven, and what is not', async () => {
    const { stdout } = await metabind(at('evidence.json'), ...asked())
    expect(stdout).toContain(`instance    ${INSTANCE_ID}\n`)
    expect(stdout).toContain(
      'not proven  Nobody has checked that the attestation key is in that TPM',
    )
  })

  test('--json', async () => {
    const { stdout } = await metabind(at('evidence.json'), ...asked(), '--json')
    expect(JSON.parse(stdout)).toMatchObject({ instanceId: INSTANCE_ID, dialect: 'aliyun' })
  })

  test('all-software keys beside a genuine EK certificate end with 3, and are not verified', async () => {
    await writeFile(at('software.json'), encodeEvidence(forge(it.evidence)))
    const plain = await metabind(at('software.json'), ...asked())
    expect([plain.code, plain.stderr]).toEqual([3, ''])
    expect(plain.stdout).toMatch(/^result {6}provisional: /)
    const json = await metabind(at('software.json'), ...asked(), '--json')
    expect(json.code).toBe(3)
    expect(JSON.parse(json.stdout)).toMatchObject({ verified: false, provisional: true })
  })

  test('--allow-provisional: exit 0, and still not verified', async () => {
    const { code, stdout } = await metabind(
      at('evidence.json'),
      ...[...asked(), '--json', '--allow-provisional'],
    )
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ verified: false, provisional: true })
  })

  test('another nonce: one line with the code', async () => {
    const { code, stderr } = await metabind(at('evidence.json'), '--nonce', '00'.repeat(32))
    expect(code).toBe(1)
    expect(stderr).toMatch(/^metabind: VERIFY_NONCE: .*\n$/)
  })

  test('without anchors of its own, it trusts Alibaba Cloud alone', async () => {
    const { stderr } = await metabind(at('evidence.json'), '--nonce', it.nonce.toString('hex'))
    expect(stderr).toContain('VERIFY_CERTIFICATE_ISSUER')
  })

  test('where nothing vouches, it says the digest that a pin would need', async () => {
    const other = ['--pin-ek', '00'.repeat(32)]
    const { stderr } = await metabind(at('evidence.json'), ...asked().slice(0, 2), ...other)
    expect(stderr).toMatch(/^metabind: VERIFY_UNANCHORED: /)
    expect(stderr).toContain(pinOf(it))
  })

  test('--pin-ek', async () => {
    const pin = pinOf(it)
    const { stdout } = await metabind(
      at('evidence.json'),
      ...['--nonce', it.nonce.toString('hex'), '--pin-ek', pin],
      ...['--identity-certificate', at('identity.pem')],
    )
    expect(stdout).toContain(`anchor      pinned EK ${pin}\n`)
  })

  test.each([
    ['no nonce', () => [at('evidence.json')]],
    ['a short nonce', () => [at('evidence.json'), '--nonce', 'abcd']],
    ['no file', () => asked()],
    ['an unknown option', () => [at('evidence.json'), ...asked(), '--trust-me']],
    [
      'a word that ek-instance does not take',
      () => [at('evidence.json'), ...asked(), '--ek-instance', 'yes'],
    ],
    ['an answer without its secret', () => [at('evidence.json'), ...asked(), '--answer', at('x')]],
  ])('%s: exit 2', async (_, args) => {
    expect((await metabind(...args())).code).toBe(2)
  })

  test.each([
    ['no such file', () => [at('absent'), ...asked()]],
    [
      'no such anchors',
      () => [at('evidence.json'), '--nonce', '00'.repeat(16), '--anchors', at('absent')],
    ],
  ])('%s: exit 1', async (_, args) => {
    const { code, stderr } = await metabind(...args())
    expect([code, stderr.includes('FILE_UNUSABLE')]).toEqual([1, true])
  })
})

describe('the ceremony of files', () => {
  test('challenge, activation on the instance, finish, verify', async () => {
    const files = ['--out', at('challenge.json'), '--secret-out', at('secret.json')]
    const challenged = await metabind('challenge', at('evidence.json'), ...asked(), ...files)
    expect(challenged.stderr).toBe('')
    expect((await stat(at('secret.json'))).mode & 0o777).toBe(0o600)
    await writeFile(at('answer.json'), await answerTo(await readFile(at('challenge.json'))))
    const finished = await metabind('finish', at('answer.json'), '--secret', at('secret.json'))
    expect(finished.stdout).toMatch(/^proven: AK [0-9a-f]{68} is in the TPM of EK [0-9a-f]{68}\n$/)
    const answer = ['--answer', at('answer.json'), '--secret', at('secret.json')]
    const { code, stdout } = await metabind(at('evidence.json'), ...asked(), ...answer, '--json')
    const { proven, verified, provisional } = JSON.parse(stdout)
    expect({ code, verified, provisional }).toEqual({ code: 0, verified: true, provisional: false })
    expect(proven).toContain('ak-in-tpm')
  })

  test('an answer made up', async () => {
    const { id } = decodeChallenge(await readFile(at('challenge.json')))
    const answer = encodeAnswer({
      format: 'metabind answer',
      version: 1,
      id,
      secret: Buffer.alloc(32),
    })
    await writeFile(at('forged.json'), answer)
    const finished = await metabind('finish', at('forged.json'), '--secret', at('secret.json'))
    expect([finished.code, finished.stderr.includes('VERIFY_ACTIVATION')]).toEqual([1, true])
  })
})

/** What `metabind activate` does on the instance. */
function answerTo(file: Buffer): Promise<string> {
  const { id, credentialBlob, encryptedSecret } = decodeChallenge(file)
  return tpm.sequence(async (commands) => {
    const ek = await commands.createPrimary(
      'endorsement',
      EK_TEMPLATES[0]?.publicArea ?? AK_TEMPLATE,
    )
    const ak = await commands.createPrimary('endorsement', AK_TEMPLATE)
    const session = await commands.startAuthSession({ type: 'policy' })
    await commands.policySecret(session, 'endorsement')
    const secret = await commands.activateCredential(
      ak,
      ek,
      credentialBlob,
      encryptedSecret,
      session,
    )
    return encodeAnswer({ format: 'metabind answer', version: 1, id, secret: Buffer.from(secret) })
  })
}

describe('openssl as the other judge of chains', () => {
  const CASES = [
    ['good', {}, true],
    ['expired', { notAfter: new Date('2021-01-01') }, false],
  ] as const

  test.each(CASES)('%s', async (_, fields, isGood) => {
    const root = makeAuthority('Openssl Root')
    const leaf = makeEkCertificate(root, it.ekSpki, { subject: INSTANCE_ID, ...fields })
    const pem = (der: Buffer) => {
      const lines = der.toString('base64').match(/.{1,64}/g) ?? []
      return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
    }
    await writeFile(at('root.pem'), pem(root.der))
    await writeFile(at('leaf.pem'), pem(leaf))
    const args = ['verify', '-purpose', 'any', '-CAfile', at('root.pem'), at('leaf.pem')]
    const byOpenssl = await promisify(execFile)('openssl', args).then(
      () => true,
      () => false,
    )
    await mkdir(at('openssl'), { recursive: true })
    await writeFile(at('openssl/root.pem'), pem(root.der))
    const evidence = await gatherEvidence(tpm, { nonce: it.nonce, certificates: [leaf] })
    await writeFile(at('openssl.json'), encodeEvidence(evidence))
    const ours = await metabind(
      at('openssl.json'),
      '--nonce',
      it.nonce.toString('hex'),
      '--anchors',
      at('openssl'),
      '--allow-provisional',
    )
    expect([byOpenssl, ours.code === 0]).toEqual([isGood, isGood])
  })
})
