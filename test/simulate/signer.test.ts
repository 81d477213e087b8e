import { execFile } from 'node:child_process'
import { verify, X509Certificate } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { fromBER } from 'asn1js'
import { ContentInfo, IssuerAndSerialNumber, SignedData } from 'pkijs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createSigner } from '../../src/simulate/signer.ts'
import { type Simulator, startSimulator } from '../../src/simulate/simulator.ts'
import { get } from './request.ts'

const IDENTITY = '/latest/dynamic/instance-identity'
let simulator: Simulator
let directory: string
beforeAll(async () => {
  simulator = await startSimulator({ tokens: 'optional' })
  directory = await mkdtemp(join(tmpdir(), 'simulate-'))
})
afterAll(async () => {
  await simulator.close()
  await rm(directory, { recursive: true })
})

const read = async (path: string) => (await get(simulator.url, IDENTITY + path)).body

function parse(base64: string) {
  const contentInfo = ContentInfo.fromBER(Buffer.from(base64, 'base64'))
  const signedData = new SignedData({ schema: contentInfo.content })
  const [signerInfo] = signedData.signerInfos
  const content = signedData.encapContentInfo.eContent
  if (!signerInfo || !content) throw new Error('no signer or no content')
  return {
    signedData,
    signerInfo,
    content: Buffer.from(content.valueBlock.valueHexView),
    signature: Buffer.from(signerInfo.signature.valueBlock.valueHexView),
  }
}

/** What the vendor's documentation tells people to run, on the armoured answer. */
async function opensslVerifies(base64: string, document: string | undefined, pem: string) {
  const lines = base64.match(/.{1,64}/g) ?? []
  const armoured = `-----BEGIN PKCS7-----\n${lines.join('\n')}\n-----END PKCS7-----\n`
  const options = ['-in', await store('sig', armoured), '-certfile', await store('cert', pem)]
  if (document !== undefined) options.push('-content', await store('document', document))
  const command = ['smime', '-verify', '-inform', 'PEM', ...options, '-noverify']
  return promisify(execFile)('openssl', command).then(
    ({ stdout }) => stdout,
    () => false,
  )
}

async function store(name: string, text: string): Promise<string> {
  const path = join(directory, name)
  await writeFile(path, text)
  return path
}

function flip(base64: string, offset: number): string {
  const bytes = Buffer.from(base64, 'base64')
  const index = offset < 0 ? bytes.length + offset : offset
  bytes.writeUInt8(bytes.readUInt8(index) ^ 1, index)
  return bytes.toString('base64')
}

describe('document', () => {
  test('is one line with the members in their order', async () => {
    const document = await read('/document')
    expect(document).not.toMatch(/[\s]/)
    expect(Object.keys(JSON.parse(document))).toEqual([
      ...['zone-id', 'serial-number', 'instance-id', 'region-id', 'private-ipv4'],
      ...['owner-account-id', 'mac', 'image-id', 'instance-type'],
    ])
  })

  test('agrees with meta-data', async () => {
    const document: Record<string, string> = JSON.parse(await read('/document'))
    for (const [name, value] of Object.entries(document)) {
      const directory = name === 'instance-type' ? 'instance/' : ''
      const leaf = await get(simulator.url, `/latest/meta-data/${directory}${name}`)
      expect([name, leaf.body]).toEqual([name, value])
    }
  })
})

describe('pkcs7', () => {
  test('has the shape of the vendor', async () => {
    const base64 = await read('/pkcs7')
    const { signedData, signerInfo, content } = parse(base64)
    const sha1 = { algorithmId: '1.3.14.3.2.26' }
    expect(signedData).toMatchObject({
      version: 1,
      digestAlgorithms: [sha1],
      encapContentInfo: { eContentType: '1.2.840.113549.1.7.1' },
    })
    expect([signedData.certificates, signedData.crls]).toEqual([undefined, undefined])
    expect([signerInfo.signedAttrs, signerInfo.unsignedAttrs]).toEqual([undefined, undefined])
    expect(signedData.signerInfos).toHaveLength(1)
    expect(signerInfo).toMatchObject({
      version: 1,
      digestAlgorithm: sha1,
      signatureAlgorithm: { algorithmId: '1.2.840.113549.1.1.1' },
    })
    const der = Buffer.from(base64, 'base64')
    expect(der.toString('base64')).toBe(base64)
    // The offset in the vendor's sample; the DER there is encoded as here, to the byte.
    expect(der.indexOf(content)).toBe(62)
  })

  test('names the certificate by issuer and serial', async () => {
    const { signerInfo } = parse(await read('/pkcs7'))
    const certificate = new X509Certificate(simulator.certificatePem)
    const sid = signerInfo.sid
    if (!(sid instanceof IssuerAndSerialNumber)) throw new Error('not an issuerAndSerialNumber')
    const serial = Buffer.from(sid.serialNumber.valueBlock.valueHexView).toString('hex')
    expect(serial.toUpperCase()).toBe(certificate.serialNumber)
    expect(serial).toHaveLength(8)
    const issuer = Buffer.from(sid.issuer.toSchema().toBER())
    expect(certificate.raw.indexOf(issuer)).toBeGreaterThan(0)
  })

  test('signs the document itself', async () => {
    const { content, signature } = parse(await read('/pkcs7'))
    const { publicKey } = new X509Certificate(simulator.certificatePem)
    expect(content.toString()).toBe(await read('/document'))
    expect(verify('RSA-SHA1', content, publicKey, signature)).toBe(true)
    content.writeUInt8(content.readUInt8(5) ^ 1, 5)
    expect(verify('RSA-SHA1', content, publicKey, signature)).toBe(false)
  })

  test.each([
    ['abc-123._~', 'abc-123._~'],
    ['%7B%22aud%22%3A%22x%22%7D', '{"aud":"x"}'],
    ['', ''],
  ])('audience=%s is the last member, with no blank', async (sent, audience) => {
    const { content, signature } = parse(await read(`/pkcs7?audience=${sent}`))
    const document = await read('/document')
    const signed = `${document.slice(0, -1)},"audience":${JSON.stringify(audience)}}`
    expect(content.toString()).toBe(signed)
    const { publicKey } = new X509Certificate(simulator.certificatePem)
    expect(verify('RSA-SHA1', content, publicKey, signature)).toBe(true)
  })

  test('openssl accepts it, and only for its document, audience and key', async () => {
    const document = await read('/document')
    const pem = simulator.certificatePem
    const withAudience = (audience: string) => `${document.slice(0, -1)},"audience":"${audience}"}`
    const bare = await read('/pkcs7')
    const aimed = await read('/pkcs7?audience=nonce1')

    expect(await opensslVerifies(bare, document, pem)).toBe(document)
    expect(await opensslVerifies(aimed, withAudience('nonce1'), pem)).toBe(withAudience('nonce1'))
    expect(await opensslVerifies(aimed, withAudience('nonce2'), pem)).toBe(false)
    expect(await opensslVerifies(aimed, document, pem)).toBe(false)
    for (const offset of [70, -1]) {
      // Without a document of its own, openssl verifies the attached content.
      expect(await opensslVerifies(flip(bare, offset), undefined, pem)).toBe(false)
    }
    expect(await opensslVerifies(bare, undefined, pem)).toBe(document)
    const { certificatePem } = await createSigner()
    expect(await opensslVerifies(bare, document, certificatePem)).toBe(false)
  })
})

describe('certificate', () => {
  test('is self-signed, for RSA-2048, valid now and no CA', () => {
    const certificate = new X509Certificate(simulator.certificatePem)
    expect(certificate.verify(certificate.publicKey)).toBe(true)
    expect(certificate.publicKey.asymmetricKeyDetails).toMatchObject({ modulusLength: 2048 })
    expect(certificate.issuer).toBe(certificate.subject)
    expect(certificate.subject.split('\n').map((line) => line.split('=')[0])).toEqual([
      'C',
      'ST',
      'L',
      'O',
      'OU',
      'CN',
    ])
    expect(certificate.ca).toBe(false)
    expect(Date.parse(certificate.validFrom)).toBeLessThan(Date.now())
    expect(Date.parse(certificate.validTo)).toBeGreaterThan(Date.now())
    expect(fromBER(certificate.raw).offset).toBe(certificate.raw.length)
  })

  test('is one for all simulators of a process, or the one that is given', async () => {
    const signer = await createSigner()
    await using shared = await startSimulator()
    await using own = await startSimulator({ signer })
    expect(shared.certificatePem).toBe(simulator.certificatePem)
    expect(own.certificatePem).toBe(signer.certificatePem)
    expect(own.certificatePem).not.toBe(simulator.certificatePem)
  })
})
