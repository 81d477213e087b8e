import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { openTpm, type Tpm } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { tpm2 } from '../../native/tpm2-js/test/tools.ts'
import { decodeChallenge, encodeAnswer } from '../../src/format/activation.ts'
import { encodeEvidence } from '../../src/format/evidence.ts'
import { AK_TEMPLATE, EK_TEMPLATES } from '../../src/format/tpm-templates.ts'
import { forge } from '../harness/attacker.ts'
import { makeAuthority, makeEkCertificate } from '../harness/certificate.ts'
import { gatherEvidence } from '../harness/evidence.ts'
import { digestOf, makeSystemdLog } from '../harness/logs.ts'
import { CLI } from '../harness/programs.ts'
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
  await mkdir(at('piped'))
  await promisify(execFile)('mkfifo', [at('piped/root.der')])
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
    const done = await promisify(execFile)(process.execPath, [CLI, 'verify', ...args])
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

  test('--demand-replayed: refuses the first PCR that no log explains, and says which ones are', async () => {
    const systemd = makeSystemdLog([{ pcr: 16, text: 'ready' }])
    const measured = digestOf('sha256', 'ready').toString('hex')
    await tpm2(swtpm, 'pcrextend', `16:sha256=${measured}`)
    const { nonce, evidence } = it
    const made = await gatherEvidence(tpm, {
      nonce,
      pcrs: [0, 16],
      certificates: evidence.ek.certificates,
      ...evidence.identityDocument,
    })
    await tpm2(swtpm, 'pcrreset', '16')
    await writeFile(at('bare.json'), encodeEvidence(made))
    await writeFile(at('logged.json'), encodeEvidence({ ...made, logs: { systemd } }))
    const demanded = ['--demand-replayed', '0,16']
    const bare = await metabind(at('bare.json'), ...asked(), ...demanded)
    expect([bare.code, bare.stderr]).toEqual([1, expect.stringContaining('sha256 PCR 16')])
    const logged = await metabind(at('logged.json'), ...asked(), ...demanded)
    expect(logged.stdout).toContain('replayed    sha256 PCR 16 from systemd, events 1: ready\n')
  })

  test.each(['', '0-', '7-0', '32', '0,,1', 'x'])(
    '--demand-replayed %s is no list of PCRs',
    async (list) => {
      const { code } = await metabind(at('evidence.json'), ...asked(), `--demand-replayed=${list}`)
      expect(code).toBe(2)
    },
  )

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
    ['a pin that is none, whatever the file', () => [at('none'), ...asked(), '--pin-ek', 'ab']],
    ['no file', () => asked()],
    [
      'a challenge and its secret in one file',
      () => ['challenge', at('evidence.json'), ...asked(), '--out', 'x', '--secret-out', './x'],
    ],
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
    [
      'a pipe with a name among the anchors',
      () => [at('evidence.json'), '--nonce', '00'.repeat(16), '--anchors', at('piped')],
    ],
  ])('%s: exit 1', async (_, args) => {
    const { code, stderr } = await metabind(...args())
    expect([code, stderr.includes('FILE_UNUSABLE')]).toEqual([1, true])
  })
})

describe('policies', () => {
  const openssl = (...args: string[]) => promisify(execFile)('openssl', args)
  const policy = (...args: string[]) =>
    metabind(at('evidence.json'), ...asked(), '--allow-provisional', '--pcr-policy', ...args)

  test('suggest-policy prints one that the evidence satisfies, and says what each rule found', async () => {
    const suggest = ['suggest-policy', at('evidence.json'), ...asked().slice(2, 6)]
    const { stdout } = await metabind(...suggest)
    await writeFile(at('policy.json'), stdout)
    const { code, stdout: said } = await policy(at('policy.json'))
    expect(code).toBe(0)
    expect(said).toContain(`policy      sha256 PCR 0 is ${'00'.repeat(32)}\n`)
    const json = JSON.parse((await metabind(...suggest, '--json')).stdout)
    expect(json).toEqual({
      schema: 'metabind.verify-suggest/1',
      policy: JSON.parse(stdout),
    })
  })

  test('suggest-policy of evidence that nothing vouches for: refused', async () => {
    const { code, stderr } = await metabind('suggest-policy', at('evidence.json'))
    expect([code, stderr.split(':')[1]]).toEqual([1, ' VERIFY_CERTIFICATE_ISSUER'])
  })

  test('--policy-key: the signature is beside the policy, or where --policy-signature says', async () => {
    await openssl('genpkey', '-algorithm', 'ED25519', '-out', at('policy.key'))
    await openssl('pkey', '-in', at('policy.key'), '-pubout', '-out', at('policy.pub'))
    const pcrs = { sha256: { '7': '00'.repeat(32) } }
    const text = JSON.stringify({ format: 'metabind pcr policy', version: 1, pcrs })
    await writeFile(at('signed.json'), text)
    const sign = ['-sign', '-rawin', '-inkey', at('policy.key'), '-in', at('signed.json')]
    await openssl('pkeyutl', ...sign, '-out', at('signed.json.sig'))
    const key = [at('signed.json'), '--policy-key', at('policy.pub')]
    expect((await policy(...key)).code).toBe(0)
    const elsewhere = ['--policy-signature', at('signed.json.sig')]
    expect((await policy(...key, ...elsewhere)).code).toBe(0)
    await writeFile(at('signed.json'), `${text} `)
    expect((await policy(...key)).stderr).toMatch(/^metabind: VERIFY_POLICY_SIGNATURE: /)
    const older = await policy(...key, ...elsewhere, '--policy-min-revision', '2')
    expect(older.code).toBe(1)
  })

  test.each([
    ['--policy-key', 'FILE'],
    ['--policy-min-revision', '1'],
    ['--pcr-signatures', 'FILE'],
  ])('%s alone: wrong usage', async (option, value) => {
    const { code, stderr } = await metabind(at('evidence.json'), ...asked(), option, value)
    expect([code, stderr]).toEqual([2, expect.stringContaining('--pcr-policy')])
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

  test('--record: what is verified is kept, and what is shown again or is another machine is refused', async () => {
    const kept = ['--record', at('record.json')]
    const answer = ['--answer', at('answer.json'), '--secret', at('secret.json')]
    const run = () => metabind(at('evidence.json'), ...asked(), ...answer, ...kept)
    const first = await run()
    expect(first.code).toBe(0)
    expect(first.stdout).toContain(`record      kept in ${at('record.json')}\n`)
    const record = await readFile(at('record.json'), 'utf8')
    expect(JSON.parse(record)).toMatchObject({ instanceId: INSTANCE_ID })
    const again = await run()
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('VERIFY_CLONED')])
    expect(await readFile(at('record.json'), 'utf8')).toBe(record)

    const otherTpm = record.replace(/(?<="ekName":"000b)./, (digit) => (digit === '0' ? '1' : '0'))
    await writeFile(at('record.json'), otherTpm)
    expect((await run()).stderr).toMatch(/VERIFY_REINSTALLED: .* It has another TPM\./)
    await writeFile(at('record.json'), '{}')
    expect((await run()).stderr).toMatch(/VERIFY_FORMAT/)
  })

  test('a file that is there keeps its mode', async () => {
    await writeFile(at('own.json'), '', { mode: 0o640 })
    const files = ['--out', at('own.json'), '--secret-out', at('secret-2.json')]
    expect((await metabind('challenge', at('evidence.json'), ...asked(), ...files)).code).toBe(0)
    expect((await stat(at('own.json'))).mode & 0o777).toBe(0o640)
  })

  test.each(['--record', '--result'])('%s takes a file, and not -', async (option) => {
    const key = option === '--result' ? ['--result-key', at('none.pem')] : []
    const { code, stderr } = await metabind(at('evidence.json'), ...asked(), option, '-', ...key)
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringContaining(`${option} takes a file, and not -`),
    })
  })

  test('--record: what software could have made up leaves no record', async () => {
    const kept = ['--allow-provisional', '--record', at('provisional-record.json')]
    const { code, stdout } = await metabind(at('evidence.json'), ...asked(), ...kept)
    expect(code).toBe(0)
    expect(stdout).toContain('record      not kept: provisional\n')
    await expect(stat(at('provisional-record.json'))).rejects.toThrow('ENOENT')
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
