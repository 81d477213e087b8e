import { describe, expect, test } from 'vitest'
import type { Evidence } from '../../src/format/evidence.ts'
import { keyObjectOf } from '../../src/format/tpm-key.ts'
import { parsePublic, type TpmPublic } from '../../src/format/tpm-public.ts'
import { verifyEvidence } from '../../src/verify/index.ts'
import { requireVouchedAk } from '../../src/verify/vouched-ak.ts'
import {
  AK_EXTENSIONS,
  makeAuthority,
  makeCertificate,
  newKey,
  spkiOf,
} from '../harness/certificate.ts'
import { gatherEvidence } from '../harness/evidence.ts'
import { keyOfType } from '../harness/key-of-type.ts'
import { bytesOf, detailOf, genuineCaseOfFile, refusals } from '../harness/verify-case.ts'

/** Attestation keys that are not made from the agent's template, as clouds certify them. */

const it = await genuineCaseOfFile()
const CLOUD = makeAuthority('AK Authority')
const hex = (...parts: string[]) => Buffer.from(parts.join('').replaceAll(' ', ''), 'hex')
/** fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign. */
const ATTRIBUTES = '00050472'
const NO_POLICY = '0000'
const rsa = (scheme: string, attributes = ATTRIBUTES, head = '0001 000b', policy = NO_POLICY) =>
  hex(head, attributes, policy, '0010', scheme, '0800 00000000 0000')
const ecc = (curve: string, scheme: string) =>
  hex('0023 000b', ATTRIBUTES, NO_POLICY, '0010', scheme, curve, '0010 0000 0000')

const gather = (akTemplate: Buffer, bank: 'sha256' | 'sha384' = 'sha256') =>
  gatherEvidence(it.tpm, { nonce: it.nonce, akTemplate, bank, certificates: [] })

function certified(evidence: Evidence, publicKey = spkiOfAk(evidence)): Evidence {
  const certificate = makeCertificate({
    subject: 'AK',
    issuer: CLOUD.name,
    publicKey,
    signer: CLOUD.key,
    extensions: AK_EXTENSIONS,
  })
  return { ...evidence, ak: { ...evidence.ak, certificates: [certificate] } }
}

function spkiOfAk(evidence: Evidence): Buffer {
  return keyObjectOf(parsePublic(evidence.ak.public)).export({ type: 'spki', format: 'der' })
}

const { demandDocument: _, expectedInstanceId: __, ...plain } = it.options
const underCloud = { ...plain, trust: { akAnchors: [CLOUD.der] } }
const codesOf = (evidence: Evidence, options: typeof plain = underCloud) =>
  refusals(evidence, options).map(({ name, code }) => `${name}: ${code}`)

describe('an AK of another scheme', () => {
  test.each([
    ['RSASSA', rsa('0014 000b'), 'sha256'],
    ['RSAPSS', rsa('0016 000b'), 'sha256'],
    ['RSASSA with SHA-384', rsa('0014 000c'), 'sha384'],
    ['ECDSA on P-384', ecc('0004', '0018 000c'), 'sha384'],
  ] as const)(
    '%s: under a certificate that leads to akAnchors, and not without',
    async (...row) => {
      const [, template, bank] = row
      const evidence = await gather(template, bank)
      const verified = verifyEvidence(bytesOf(certified(evidence)), underCloud)
      expect(verified).toMatchObject({ verified: true, anchor: { kind: 'ak-certificate' } })
      const { spkiSha256 } = verified.ek
      const pinned = { ...plain, trust: { ekPins: [spkiSha256] } }
      const refused = ['AK public area: VERIFY_AK_PUBLIC']
      expect(codesOf(evidence, pinned)).toEqual(refused)
      // A certificate that nobody asked about is none.
      expect(codesOf(certified(evidence), pinned)).toEqual(refused)
    },
  )

  test('beside a pinned EK, the certificate vouches for the scheme, and not for the TPM', async () => {
    const evidence = certified(await gather(rsa('0014 000b')))
    const { spkiSha256 } = verifyEvidence(bytesOf(evidence), underCloud).ek
    const both = { ...plain, trust: { akAnchors: [CLOUD.der], ekPins: [spkiSha256] } }
    const verified = verifyEvidence(bytesOf(evidence), both)
    expect(verified).toMatchObject({ provisional: true, anchor: { kind: 'ek-pin' } })
    const foreign = certified(evidence, spkiOf(newKey()))
    expect(codesOf(foreign, both)).toEqual(['AK public area: VERIFY_AK_PUBLIC'])
    expect(() => verifyEvidence(bytesOf(foreign), both)).toThrow(
      'Of its certificate: VERIFY_CERTIFICATE_KEY.',
    )
  })
})

describe('an AK with a certificate that proves nothing', () => {
  /** Of the RSA key of the evidence, with another head in front of it. */
  const withHead = async (head: Buffer) => {
    const evidence = await gather(rsa('0014 000b'))
    const { bytes, uniqueOffset } = parsePublic(evidence.ak.public)
    const { uniqueOffset: length } = parsePublic(head)
    const publicArea = Buffer.concat([head.subarray(0, length), bytes.subarray(uniqueOffset)])
    return certified(
      { ...evidence, ak: { ...evidence.ak, public: publicArea } },
      spkiOfAk(evidence),
    )
  }
  const flipped = (bit: number) =>
    rsa('0014 000b', (Number.parseInt(ATTRIBUTES, 16) ^ bit).toString(16).padStart(8, '0'))

  test.each([
    ['unrestricted', flipped(0x10000)],
    ['not fixed to its TPM', flipped(0x2)],
    ['not fixed to its parent', flipped(0x10)],
    ['not made by its TPM', flipped(0x20)],
    ['that decrypts', flipped(0x20000)],
    ['that signs certificates', flipped(0x80000)],
    ['of stClear', flipped(0x4)],
    ['with a policy', rsa('0014 000b', ATTRIBUTES, '0001 000b', `0020${'11'.repeat(32)}`)],
    ['with SHA-1', rsa('0014 0004')],
    ['whose Name is of SHA-1', rsa('0014 000b', ATTRIBUTES, '0001 0004')],
    ['without a scheme', rsa('0010')],
    ['of encryption', rsa('0015')],
    [
      'with a cipher',
      hex('0001 000b', ATTRIBUTES, NO_POLICY, '0006 0080 0043 0014 000b 0800 00000000 0000'),
    ],
    [
      'of RSA with 1024 bits',
      hex('0001 000b', ATTRIBUTES, NO_POLICY, '0010 0014 000b 0400 00000000 0000'),
    ],
  ])('%s', async (_what, head) => {
    const evidence = await withHead(head)
    const refused = refusals(evidence, underCloud).find(({ name }) => name === 'AK public area')
    expect(refused?.code).toBe('VERIFY_AK_PUBLIC')
  })

  test('with an exponent of 3, which its certificate has too', async () => {
    const evidence = await gather(rsa('0014 000b'))
    const publicArea = Buffer.from(evidence.ak.public)
    // Before the size and the bytes of the modulus.
    publicArea.writeUInt32BE(3, parsePublic(publicArea).uniqueOffset - 4)
    const altered = certified({ ...evidence, ak: { ...evidence.ak, public: publicArea } })
    expect(codesOf(altered)).toContain('AK public area: VERIFY_AK_PUBLIC')
    expect(codesOf(altered)).not.toContain('endorsement: VERIFY_CERTIFICATE_KEY')
  })
})

describe('why a vouched AK is refused', () => {
  const key = (publicArea: Buffer, unique: string) =>
    parsePublic(Buffer.concat([publicArea, hex(unique)]))
  const headOf = (template: Buffer) => template.subarray(0, parsePublic(template).uniqueOffset)
  /** RSA of so many bytes, as no TPM would make it. */
  const rsaOf = (bytes: number, head = rsa('0014 000b')) => {
    const area = Buffer.from(headOf(head))
    area.writeUInt16BE(bytes * 8, area.length - 6)
    return key(area, `${bytes.toString(16).padStart(4, '0')}${'c1'.repeat(bytes)}`)
  }
  const POINT = `0020${'01'.repeat(32)}0020${'02'.repeat(32)}`
  const eccOf = (template: Buffer) => key(headOf(template), POINT)
  const found = (each: TpmPublic) => detailOf(() => requireVouchedAk(each))
  const plainRsa = rsaOf(256)
  const plainEcc = eccOf(ecc('0003', '0018 000b'))
  const noHash = { algorithm: 0x0014, hash: undefined }

  test.each<readonly [string, TpmPublic]>([
    ['RSASSA', plainRsa],
    ['RSAPSS', rsaOf(256, rsa('0016 000b'))],
    ['of 4096 bits', rsaOf(512)],
    ['ECDSA', plainEcc],
    ['ECDSA with SHA-512', eccOf(ecc('0003', '0018 000d'))],
  ])('it is not: %s', (_what, each) => {
    expect(requireVouchedAk(each)).toBeUndefined()
  })

  test.each<readonly [string, TpmPublic]>([
    ['other attributes', { ...plainEcc, attributes: plainEcc.attributes | 0x20000 }],
    ['a policy', { ...plainEcc, authPolicy: Buffer.alloc(1) }],
    ['a weak hash of its Name', { ...plainEcc, nameAlg: 0x0004 }],
    ['no key', { ...keyOfType(plainEcc, 'ecc'), x: Buffer.alloc(0) }],
    [
      'no key that signs',
      { ...parsePublic(it.evidence.certifications.RK.public), attributes: plainEcc.attributes },
    ],
    [
      'another scheme',
      { ...keyOfType(plainRsa, 'rsa'), scheme: { algorithm: 0x0018, hash: 0x000b } },
    ],
    ['another scheme', { ...keyOfType(plainRsa, 'rsa'), scheme: noHash }],
    [
      'another scheme',
      { ...keyOfType(plainRsa, 'rsa'), scheme: { algorithm: 0x0014, hash: 0x0004 } },
    ],
    [
      'a symmetric cipher',
      { ...keyOfType(plainRsa, 'rsa'), symmetric: { algorithm: 6, keyBits: 128, mode: 0x43 } },
    ],
    ['RSA of 2040 bits', rsaOf(255)],
    [
      'RSA of 4104 bits',
      { ...keyOfType(rsaOf(512), 'rsa'), keyBits: 4104, modulus: Buffer.alloc(513, 1) },
    ],
    ['another exponent than 65537', { ...keyOfType(plainRsa, 'rsa'), exponent: 3 }],
    [
      'another scheme',
      { ...keyOfType(plainEcc, 'ecc'), scheme: { algorithm: 0x0014, hash: 0x000b } },
    ],
    [
      'another scheme',
      { ...keyOfType(plainEcc, 'ecc'), scheme: { algorithm: 0x0018, hash: undefined } },
    ],
    [
      'another scheme',
      { ...keyOfType(plainEcc, 'ecc'), scheme: { algorithm: 0x0018, hash: 0x0004 } },
    ],
    [
      'a cipher or KDF',
      { ...keyOfType(plainEcc, 'ecc'), symmetric: { algorithm: 6, keyBits: 128, mode: 0x43 } },
    ],
    [
      'a cipher or KDF',
      { ...keyOfType(plainEcc, 'ecc'), kdf: { algorithm: 0x0020, hash: 0x000b } },
    ],
    ['another curve', { ...keyOfType(plainEcc, 'ecc'), curve: 0x0020 }],
  ])('%s', (why, each) => {
    expect(found(each)).toBe(`VERIFY_AK_PUBLIC Found: ${why}.`)
  })
})
