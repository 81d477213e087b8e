import { execFile } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeEvidence } from '../../src/format/evidence.ts'
import { verifyResult } from '../../src/verify/index.ts'
import { CLI } from '../harness/programs.ts'
import { demandsOf, privatePem } from '../harness/result-case.ts'
import { genuineCaseOfFile, INSTANCE_ID, refusalOf } from '../harness/verify-case.ts'

/** `metabind verify --result`: what a script gets that hands it on. */

const it = await genuineCaseOfFile()
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
let directory: string
beforeAll(async () => {
  directory = await mkdtemp('/tmp/result-')
  await mkdir(at('anchors'))
  await writeFile(at('anchors/root.der'), it.authority.der)
  await writeFile(at('identity.pem'), it.signer.certificatePem)
  await writeFile(at('evidence.json'), encodeEvidence(it.evidence))
  await writeFile(at('key.pem'), privatePem(privateKey), { mode: 0o600 })
})
afterAll(() => rm(directory, { recursive: true }))

const at = (file: string) => join(directory, file)
const demands = () => ({ ...demandsOf(it.nonce, publicKey), now: new Date() })

interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

async function verify(...args: string[]): Promise<Finished> {
  const all = [
    ...[CLI, 'verify', at('evidence.json'), '--nonce', it.nonce.toString('hex')],
    ...['--anchors', at('anchors'), '--identity-certificate', at('identity.pem'), ...args],
  ]
  try {
    return { code: 0, ...(await promisify(execFile)(process.execPath, all)) }
  } catch (error) {
    const { code, stdout, stderr } = error as Finished // what execFile rejects with
    return { code, stdout, stderr }
  }
}

describe('metabind verify --result', () => {
  test('of provisional evidence: written, and it affirms nothing', async () => {
    const asked = ['--result', at('result'), '--result-key', at('key.pem'), '--result-life', '10m']
    expect(await verify(...asked)).toMatchObject({ code: 3, stderr: '' })
    const token = await readFile(at('result'))
    expect(refusalOf(() => verifyResult(token, demands())).code).toBe('VERIFY_PROVISIONAL')
    const result = verifyResult(token, { ...demands(), allowProvisional: true })
    expect(result).toMatchObject({ status: 'none', instanceId: INSTANCE_ID })
    expect(result.verifier.build).toMatch(/^metabind \d/)
    expect(result.expiresAt.getTime() - result.issuedAt.getTime()).toBe(600_000)
  })

  test('of evidence that is refused there is none', async () => {
    const asked = ['--result', at('none'), '--result-key', at('key.pem')]
    const { code, stderr } = await verify(...asked, '--instance-id', 'i-other')
    expect([code, stderr]).toEqual([1, expect.stringContaining('VERIFY_INSTANCE_ID')])
    await expect(stat(at('none'))).rejects.toThrow('ENOENT')
  })

  test('with a record that is there and cannot be read there is none', async () => {
    await symlink(at('nowhere'), at('record.json'))
    const asked = ['--result', at('none'), '--result-key', at('key.pem')]
    const { code, stderr } = await verify(...asked, '--record', at('record.json'))
    expect([code, stderr]).toEqual([1, expect.stringContaining('FILE_UNUSABLE')])
    await expect(stat(at('none'))).rejects.toThrow('ENOENT')
  })

  test('with a key that others may use, or that is none, nothing is verified', async () => {
    await writeFile(at('open.pem'), privatePem(privateKey))
    await chmod(at('open.pem'), 0o640)
    const open = await verify('--result', at('none'), '--result-key', at('open.pem'))
    expect(open).toMatchObject({ code: 1, stdout: '' })
    expect(open.stderr).toMatch(/FILE_UNUSABLE: .*open\.pem: it holds a secret, and others may use/)
    await writeFile(at('no.pem'), 'no key', { mode: 0o600 })
    const none = await verify('--result', at('none'), '--result-key', at('no.pem'))
    expect(none).toMatchObject({ code: 1, stderr: expect.stringContaining('VERIFY_RESULT_KEY') })
  })

  test.each([
    ['a result without a key', ['--result', 'x']],
    ['a key without a result', ['--result-key', 'x']],
    ['a form without a result', ['--result-format', 'cwt']],
    ['a life without a result', ['--result-life', '10m']],
    ['a life of two days', ['--result', 'x', '--result-key', 'x', '--result-life', '2d']],
  ])('%s: exit 2', async (_, args) => {
    expect((await verify(...args)).code).toBe(2)
  })
})
