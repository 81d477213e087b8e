import { createHash, createPublicKey } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { certificatesIn, parseCertificate } from '../../src/certificates/certificate.ts'
import { isSameKey } from '../../src/certificates/spki.ts'
import { ByteReader, sized } from '../../src/format/byte-reader.ts'
import { parseAttest } from '../../src/format/tpm-attest.ts'
import { parseSelection } from '../../src/format/tpm-pcr-selection.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { parseSignature } from '../../src/format/tpm-signature.ts'
import { AK_TEMPLATE, EK_TEMPLATES } from '../../src/format/tpm-templates.ts'
import { certificatesOfNv } from '../../src/identity/nv-certificate.ts'
import {
  parseAttestation,
  requireAttestationSignature,
  requireKeyScheme,
} from '../../src/verify/attestation.ts'
import {
  ALIYUN_EK_ANCHORS,
  ALIYUN_EKMF_CERTIFICATE,
  ALIYUN_IDENTITY_CERTIFICATE,
  verifyEvidence,
} from '../../src/verify/index.ts'
import { forge, signTpm, softwareAk } from '../harness/attacker.ts'
import { newKey, rsaSpki } from '../harness/certificate.ts'
import { gatherEvidence } from '../harness/evidence.ts'
import { bytesOf, codeOf, genuineCaseOfFile, refusalOf } from '../harness/verify-case.ts'

/** Structures of the TPM and of certificates. */

const it = await genuineCaseOfFile()
const { tpm } = it

describe('accepted', () => {
  test('a bank of SHA-384, signed with SHA-256', async () => {
    const certificates = [...it.evidence.ek.certificates]
    const { nonce } = it
    const evidence = await gatherEvidence(tpm, { nonce, certificates, bank: 'sha384' })
    const options = { ...it.options, demandDocument: false }
    expect(Object.keys(verifyEvidence(bytesOf(evidence), options).pcrs)).toEqual(['sha384'])
  })

  test('an attestation in its TPM2B size', () => {
    const { quote } = it.evidence
    const evidence = { ...it.evidence, quote: { ...quote, attest: sized(quote.attest) } }
    expect(verifyEvidence(bytesOf(evidence), it.options).instanceId).toBe(it.evidence.instanceId)
  })

  test('r or s with leading zero bytes trimmed', () => {
    const key = newKey()
    const forged = forge(it.evidence, { key })
    const ak = parsePublic(forged.ak.public)
    const { attest } = forged.quote
    const signature = Array.from({ length: 4000 }, () => signTpm(key, attest)).find((made) =>
      [made.readUInt8(6), made.readUInt8(40)].includes(0),
    )
    if (signature === undefined) throw new Error('no leading zero in 4000 signatures')
    const trimmed = trimHalves(signature)
    expect(trimmed.length).toBeLessThan(signature.length)
    requireAttestationSignature(parseAttestation(attest, trimmed), ak)
  })
})

function trimHalves(signature: Buffer): Buffer {
  const halves = [signature.subarray(6, 38), signature.subarray(40)]
  const trimmed = halves.map((half) => sized(half.subarray(half.findIndex((byte) => byte !== 0))))
  return Buffer.concat([signature.subarray(0, 4), ...trimmed])
}

describe('refused structures', () => {
  const parsers = (): [string, Buffer, (bytes: Buffer) => unknown][] => [
    ['TPMT_PUBLIC', it.evidence.ak.public, parsePublic],
    ['TPMT_PUBLIC of the EK', it.evidence.ek.public, parsePublic],
    ['TPMT_PUBLIC of a keyed hash', it.evidence.certifications.RK.public, parsePublic],
    ['TPMS_ATTEST of a quote', it.evidence.quote.attest, parseAttest],
    ['TPMS_ATTEST of a certification', it.evidence.certifications.SK.attest, parseAttest],
    ['TPMT_SIGNATURE', it.evidence.quote.signature, parseSignature],
  ]

  test('truncated at each byte, and with bytes behind', () => {
    for (const [, bytes, parse] of parsers()) {
      for (let length = 0; length < bytes.length; length += 1) {
        const refusal = refusalOf(() => parse(bytes.subarray(0, length)))
        expect(refusal.code).toBe('VERIFY_STRUCTURE')
      }
      const behind = Buffer.concat([bytes, Uint8Array.of(0)])
      expect(refusalOf(() => parse(behind)).code).toBe('VERIFY_STRUCTURE')
    }
  })

  test('every byte changed: parsed or refused, never another error', () => {
    for (const [, bytes, parse] of parsers()) {
      for (let at = 0; at < bytes.length; at += 1) {
        for (const value of [0x00, 0x7f, 0xff]) {
          const changed = Buffer.from(bytes)
          changed.writeUInt8(value, at)
          try {
            parse(changed)
          } catch (error) {
            expect(codeOf(error)).toBe('VERIFY_STRUCTURE')
          }
        }
      }
    }
  })

  test.each([
    ['a count of 0xFFFFFFFF', 'ffffffff'],
    ['an unknown bank', '00000001 1234 03 000000'],
    ['a bitmap of 255', `00000001 000b ff ${'00'.repeat(255)}`],
    ['a bitmap of two', '00000001 000b 02 0000'],
  ])('TPML_PCR_SELECTION: %s', (_, hex) => {
    const bytes = Buffer.from(hex.replaceAll(' ', ''), 'hex')
    const refusal = refusalOf(() => parseSelection(new ByteReader(bytes, 'selection')))
    expect(refusal.code).toBe('VERIFY_STRUCTURE')
  })

  test('TPMT_SIGNATURE: an HMAC', () => {
    const hmac = Buffer.from(`0005000b${'00'.repeat(32)}`, 'hex')
    expect(refusalOf(() => parseSignature(hmac)).code).toBe('VERIFY_STRUCTURE')
  })

  test('a key whose scheme is SHA-1, which signs with SHA-1', () => {
    const template = Buffer.from(AK_TEMPLATE)
    template.writeUInt16BE(0x0004, 14)
    const key = newKey()
    const ak = parsePublic(softwareAk(key, template))
    const { attest } = it.evidence.quote
    const attestation = parseAttestation(attest, signTpm(key, attest, 'sha1'))
    requireAttestationSignature(attestation, ak)
    const refusal = refusalOf(() => requireKeyScheme(attestation, ak))
    expect(refusal.code).toBe('VERIFY_SIGNATURE_ALGORITHM')
  })

  test('an AK that is not a point of its curve', () => {
    const point = Buffer.from(it.evidence.ak.public)
    point.writeUInt8(point.readUInt8(point.length - 1) ^ 1, point.length - 1)
    const evidence = { ...it.evidence, ak: { public: point } }
    const refusal = refusalOf(() => verifyEvidence(bytesOf(evidence), it.options))
    expect(refusal.code).toBe('VERIFY_STRUCTURE')
  })
})

describe('templates', () => {
  test('are parsed to their very bytes', () => {
    for (const template of [AK_TEMPLATE, ...EK_TEMPLATES.map(({ publicArea }) => publicArea)]) {
      expect(parsePublic(template).bytes).toEqual(template)
    }
  })
})

describe('certificates in NV', () => {
  const der = () => it.evidence.ek.certificates[0] ?? Buffer.alloc(0)

  test('with the PC Client header, and FF or 00 behind', () => {
    const length = Buffer.alloc(2)
    length.writeUInt16BE(der().length)
    const header = Buffer.concat([Uint8Array.of(0x10, 0x01, 0x00), length])
    const found = [
      certificatesOfNv(der()),
      certificatesOfNv(Buffer.concat([header, der()])),
      certificatesOfNv(Buffer.concat([der(), Buffer.alloc(100, 0xff)])),
      certificatesOfNv(Buffer.concat([der(), Buffer.alloc(100)])),
    ]
    expect(found).toEqual([[der()], [der()], [der()], [der()]])
  })

  test.each([
    ['counts its own tag', 2],
    ['counts the certificate alone', 0],
  ])('with a header of seven bytes, whose length %s', (_, more) => {
    const header = Buffer.from('100100 0000 1002'.replaceAll(' ', ''), 'hex')
    header.writeUInt16BE(der().length + more, 3)
    for (const behind of [Buffer.alloc(0), Buffer.alloc(100, 0xff)]) {
      expect(certificatesOfNv(Buffer.concat([header, der(), behind]))).toEqual([der()])
    }
  })

  test('a chain of several', () => {
    expect(certificatesOfNv(Buffer.concat([der(), der()]))).toEqual([der(), der()])
  })

  test.each([
    ['text', Buffer.from('no certificate')],
    ['a length beyond the end', Buffer.from('3082ffff00', 'hex')],
    ['an indefinite length', Buffer.from('30800000', 'hex')],
    ['a header of seven bytes and text', Buffer.from('1001000004100274657874', 'hex')],
    ['a header and half a certificate', Buffer.from('10010000103082100000', 'hex')],
    ['mixed padding', Buffer.from('00ff00ff', 'hex')],
  ])('refused: %s', (_, bytes) => {
    expect(refusalOf(() => certificatesOfNv(bytes)).code).toBe('VERIFY_CERTIFICATE')
  })

  test('an RSA key that says OAEP is the same key', async () => {
    const ek = await tpm.sequence(async (commands) => {
      const template = EK_TEMPLATES.find(({ kind }) => kind === 'RSA-2048')
      return (await commands.createPrimary('endorsement', template?.publicArea ?? AK_TEMPLATE))
        .publicArea
    })
    const key = parsePublic(ek)
    if (key.type !== 'rsa') throw new Error('no RSA key')
    const n = key.modulus.toString('base64url')
    const plain = createPublicKey({ key: { kty: 'RSA', n, e: 'AQAB' }, format: 'jwk' })
    const spki = plain.export({ type: 'spki', format: 'der' })
    const rsaEncryption = Buffer.from('2a864886f70d010101', 'hex')
    const oaep = Buffer.from(spki)
    oaep.writeUInt8(0x07, spki.indexOf(rsaEncryption) + rsaEncryption.length - 1)
    expect([isSameKey(spki, key), isSameKey(oaep, key)]).toEqual([true, true])
    expect(isSameKey(Buffer.from(it.ekSpki), key)).toBe(false)
    const exponentOf3 = rsaSpki(key.modulus, Buffer.of(3))
    expect(isSameKey(exponentOf3, key)).toBe(false)
  })

  test('a point of another curve is another key', () => {
    const key = parsePublic(it.evidence.ek.public)
    const p256 = Buffer.from('2a8648ce3d030107', 'hex')
    const other = Buffer.from(it.ekSpki)
    other.writeUInt8(0x01, other.indexOf(p256) + p256.length - 1)
    expect([isSameKey(Buffer.from(it.ekSpki), key), isSameKey(other, key)]).toEqual([true, false])
  })
})

describe('Alibaba Cloud', () => {
  test('the intermediate is the pinned one', () => {
    const [intermediate] = certificatesIn(Buffer.from(ALIYUN_EKMF_CERTIFICATE))
    expect(ALIYUN_EK_ANCHORS).toContain(intermediate?.fingerprint)
  })

  test("the identity document's certificate is the published one", () => {
    const [certificate] = certificatesIn(Buffer.from(ALIYUN_IDENTITY_CERTIFICATE))
    const fingerprint = '09025956e3895bfddeccdc9b37527534cdaf501bfc814be8808a12f8710a1941'
    expect(certificate).toMatchObject({ fingerprint, serialNumber: '6666d187' })
    const spki = createHash('sha256')
      .update(certificate?.publicKey ?? '')
      .digest('hex')
    expect(spki).toBe('1bfe2f10e644b23cec4ff727f24fcc662489c7047368b2e5cde4047fe9ac1e97')
  })

  test('an EK certificate of somebody who calls himself Aliyun TPM EKMF CA', () => {
    const trust = { ekAnchorFingerprints: ALIYUN_EK_ANCHORS }
    const options = { ...it.options, trust: { ...it.options.trust, ...trust, ekAnchors: [] } }
    const refusal = refusalOf(() => verifyEvidence(bytesOf(it.evidence), options))
    expect(refusal.code).toBe('VERIFY_CERTIFICATE_ISSUER')
  })
})

describe('certificates that are not DER', () => {
  const der = () => it.authority.der
  test.each([
    ['a length that is not minimal', () => Buffer.concat([Buffer.from('308400', 'hex'), der()])],
    [
      'an indefinite length',
      () => Buffer.concat([Buffer.from('3080', 'hex'), der(), Buffer.alloc(2)]),
    ],
    ['nesting of 5000', () => nested(5000)],
    [
      'a certificate in a certificate',
      () => Buffer.concat([Buffer.from('3082', 'hex'), u16(der().length), der()]),
    ],
    ['nothing', () => Buffer.alloc(0)],
    ['20 KiB', () => Buffer.alloc(20_000, 0x30)],
  ])('%s', (_, make) => {
    expect(refusalOf(() => parseCertificate(make())).code).toBe('VERIFY_CERTIFICATE')
  })

  test('a software key is no TPM key, though its certificate is good', () => {
    expect(isSameKey(it.ekSpki, parsePublic(softwareAk(newKey())))).toBe(false)
  })
})

function nested(depth: number): Buffer {
  let bytes = Buffer.alloc(0)
  for (let at = 0; at < depth && bytes.length < 16_000; at += 1) {
    const length =
      bytes.length < 0x80
        ? Buffer.from([bytes.length])
        : Buffer.concat([Buffer.from([0x82]), u16(bytes.length)])
    bytes = Buffer.concat([
      Buffer.from([0x30]),
      bytes.length >= 0x80 && bytes.length < 0x100 ? Buffer.from([0x81, bytes.length]) : length,
      bytes,
    ])
  }
  return bytes
}

function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff])
}
