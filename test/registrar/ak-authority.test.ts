import { execFileSync } from 'node:child_process'
import { randomBytes, X509Certificate } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parseCertificate } from '../../src/certificates/certificate.ts'
import { directoryNames, extKeyUsages } from '../../src/certificates/certificate-extensions.ts'
import { akAuthority } from '../../src/registrar/ak-authority.ts'
import { akIssuerCertificate, type CertifiedAk } from '../../src/registrar/ak-certificate.ts'
import { masterKey } from '../../src/registrar-keys/master-key.ts'
import { markRotated } from '../../src/registrar-keys/rotate-mark.ts'
import { sealedKeys } from '../../src/registrar-keys/sealed-keys.ts'
import { sqliteRepository } from '../../src/registrar-repository/sqlite-repository.ts'
import { Secret } from '../../src/secret.ts'
import { newKey, spkiOf } from '../harness/certificate.ts'
import { scratchDirectory } from '../harness/scratch.ts'

const DAY_MS = 86_400_000
const master = masterKey(new Secret(randomBytes(32)))
const TPM = [
  ['2.23.133.2.1', 'id:00001014'],
  ['2.23.133.2.2', 'a longer model than the others'],
  ['2.23.133.2.3', 'id:20191023'],
] as const
const AK: CertifiedAk = {
  spki: spkiOf(newKey()).toString('base64'),
  tpm: TPM,
  instance: 'aliyun:i-one',
}

let stack: AsyncDisposableStack
let directory: string
let nowMs: number
beforeEach(async () => {
  stack = new AsyncDisposableStack()
  directory = stack.use(await scratchDirectory()).path
  nowMs = Date.UTC(2026, 10, 29)
})
afterEach(() => stack.disposeAsync())

function replica(under = master) {
  const repository = sqliteRepository(join(directory, 'registrar.db'))
  stack.defer(() => repository.close())
  const url = 'https://registrar.example'
  return akAuthority({ url, repository, store: sealedKeys(under), nowMs: () => nowMs })
}

const certifiedBy = (authority: ReturnType<typeof replica>, ak = AK, lifeMs = DAY_MS) =>
  authority.certify(ak, nowMs + lifeMs)
const pemsIn = (text: string) => text.match(/-----BEGIN[^-]*-----[^-]*-----END[^-]*-----\n/g) ?? []
const namesIn = (text: string) => pemsIn(text).map((one) => new X509Certificate(one).subject)

/** By openssl, which shares nothing with the library that made it. */
async function opensslVerdict(leaf: Buffer, anchors: string): Promise<string> {
  const [leafFile, anchorFile] = ['leaf.pem', 'anchors.pem'].map((name) => join(directory, name))
  await writeFile(leafFile ?? '', new X509Certificate(leaf).toString())
  await writeFile(anchorFile ?? '', anchors)
  const at = ['-attime', String(Math.floor(nowMs / 1000))]
  const args = ['verify', '-x509_strict', '-no-CApath', ...at, '-CAfile', anchorFile, leafFile]
  return (
    execFileSync('openssl', args.map(String), { encoding: 'utf8' }).trim().split(' ').pop() ?? ''
  )
}

describe('a certificate', () => {
  test('openssl takes it under what is published, and only there', async () => {
    const authority = replica()
    await authority.refresh()
    const [leaf = Buffer.alloc(0), issuer = Buffer.alloc(0)] = await certifiedBy(authority)
    expect(await opensslVerdict(leaf, authority.published)).toBe('OK')
    expect(new X509Certificate(issuer).toString()).toBe(authority.published)
    const other = akAuthority({
      url: 'https://other.example',
      repository: sqliteRepository(join(directory, 'other.db')),
      store: sealedKeys(master),
      nowMs: () => nowMs,
    })
    await other.refresh()
    await expect(opensslVerdict(leaf, other.published)).rejects.toThrow()
  })

  test('it names the TPM in the place of a subject, the instance, and what it is for', async () => {
    const authority = replica()
    await authority.refresh()
    const [leaf = Buffer.alloc(0)] = await certifiedBy(authority)
    const parsed = parseCertificate(leaf)
    expect(parsed.subject.toString('hex')).toBe('3000')
    expect(directoryNames(parsed)).toEqual([TPM])
    expect(extKeyUsages(parsed)).toEqual(['2.23.133.8.3'])
    expect(parsed.extensions.get('2.5.29.17')?.critical).toBe(true)
    const { subjectAltName, publicKey, ca } = new X509Certificate(leaf)
    expect(subjectAltName).toContain('URI:aliyun:i-one')
    expect(publicKey.export({ type: 'spki', format: 'der' }).toString('base64')).toBe(AK.spki)
    expect(ca).toBe(false)
  })

  test('without a certificate of its maker the TPM is not named, and the instance is the subject', async () => {
    const authority = replica()
    await authority.refresh()
    const [leaf = Buffer.alloc(0)] = await certifiedBy(authority, { ...AK, tpm: undefined })
    expect(new X509Certificate(leaf).subject).toBe('CN=aliyun:i-one')
    expect(directoryNames(parseCertificate(leaf))).toEqual([])
    expect(await opensslVerdict(leaf, authority.published)).toBe('OK')
  })

  test('it is good no longer than the enrolment, and has a number that nobody guesses', async () => {
    const authority = replica()
    await authority.refresh()
    const [one = Buffer.alloc(0)] = await certifiedBy(authority, AK, 300_500)
    const [other = Buffer.alloc(0)] = await certifiedBy(authority, AK, 300_500)
    const { validFromDate, validToDate, serialNumber } = new X509Certificate(one)
    expect(validFromDate.getTime()).toBeLessThanOrEqual(nowMs)
    expect(validToDate.getTime()).toBe(nowMs + 300_000)
    expect(serialNumber).toMatch(/^[4-7][0-9A-F]{31}$/)
    expect(new X509Certificate(other).serialNumber).not.toBe(serialNumber)
  })
})

describe('the key', () => {
  test('replicas that begin together have one, and a restart keeps it', async () => {
    const [one, other] = [replica(), replica()]
    await Promise.all([one.refresh(), other.refresh()])
    await one.refresh()
    await other.refresh()
    expect(namesIn(one.published)).toHaveLength(1)
    expect(other.published).toBe(one.published)
    const again = replica()
    await again.refresh()
    expect(again.published).toBe(one.published)
  })

  test('another one is published a month before it certifies, and the old one a month longer', async () => {
    const authority = replica()
    await authority.refresh()
    const [first] = namesIn(authority.published)
    const issuerNow = async () =>
      new X509Certificate((await certifiedBy(authority))[1] ?? Buffer.alloc(0)).subject
    nowMs += 334 * DAY_MS
    await authority.refresh()
    const both = namesIn(authority.published)
    expect(both).toHaveLength(2)
    expect(await issuerNow()).toBe(first)
    nowMs += 31 * DAY_MS
    await authority.refresh()
    expect(await issuerNow()).toBe(both.find((name) => name !== first))
    const [leaf = Buffer.alloc(0)] = await certifiedBy(authority)
    expect(await opensslVerdict(leaf, authority.published)).toBe('OK')
    expect(namesIn(authority.published)).toHaveLength(2)
    nowMs += 31 * DAY_MS
    await authority.refresh()
    expect(namesIn(authority.published)).toHaveLength(1)
  })

  test('another one that is wanted before is published at once, and certifies in a month', async () => {
    const authority = replica()
    await authority.refresh()
    nowMs += DAY_MS
    const repository = sqliteRepository(join(directory, 'registrar.db'))
    stack.defer(() => repository.close())
    await markRotated(repository, 'test', nowMs)
    await authority.refresh()
    await authority.refresh()
    const [, issuer = Buffer.alloc(0)] = await certifiedBy(authority)
    expect(namesIn(authority.published)).toHaveLength(2)
    nowMs += 31 * DAY_MS
    const [, next = Buffer.alloc(0)] = await certifiedBy(authority)
    expect(next).not.toEqual(issuer)
    expect(authority.published).toContain(new X509Certificate(next).toString())
  })

  test('a certificate of another key, or that the key did not make, is none of it', async () => {
    await replica().refresh()
    const rows = new DatabaseSync(join(directory, 'registrar.db'))
    const { key } = await sealedKeys(master).make('ES256', 'own')
    const names = { name: 'own', url: 'https://registrar.example' }
    const validity = { notBefore: new Date(nowMs), notAfter: new Date(nowMs + DAY_MS) }
    const own = await akIssuerCertificate(key, names, validity)
    const x5c = [own.toString('base64')]
    rows.prepare('UPDATE signing_keys SET public_jwk = ?').run(JSON.stringify({ x5c }))
    rows.close()
    await expect(replica().refresh()).rejects.toMatchObject({ code: 'REGISTRAR_DATABASE' })
  })

  test('under another master key it is not there', async () => {
    await replica().refresh()
    const other = replica(masterKey(new Secret(randomBytes(32))))
    await expect(other.refresh()).rejects.toThrow(
      expect.objectContaining({ code: 'REGISTRAR_DATABASE' }),
    )
  })
})
