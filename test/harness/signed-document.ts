import { Integer, ObjectIdentifier } from 'asn1js'
import {
  Attribute,
  Certificate,
  ContentInfo,
  IssuerAndSerialNumber,
  RelativeDistinguishedNames,
  SignedAndUnsignedAttributes,
  SignedData,
} from 'pkijs'
import { certificatesIn } from '../../src/certificates/certificate.ts'
import { ALIYUN_IDENTITY_CERTIFICATE } from '../../src/verify/aliyun.ts'

/** Genuine PKCS7 documents, rightly signed, of another shape than the cloud's. */

const SHA256 = '2.16.840.1.101.3.4.2.1'
const SHA256_WITH_RSA = '1.2.840.113549.1.1.11'
const CONTENT_TYPE = '1.2.840.113549.1.9.3'
const DATA = '1.2.840.113549.1.7.1'
const ENVELOPED_DATA = '1.2.840.113549.1.7.3'

type Change = (data: SignedData, signer: SignedData['signerInfos'][0], info: ContentInfo) => void

function attributes(type: 0 | 1): SignedAndUnsignedAttributes {
  const values = [new ObjectIdentifier({ value: DATA })]
  return new SignedAndUnsignedAttributes({
    type,
    attributes: [new Attribute({ type: CONTENT_TYPE, values })],
  })
}

/** What may not be in a document, and how it gets there. */
export const OTHER_SHAPES: readonly (readonly [title: string, change: Change])[] = [
  ['two signers', (data, signer) => data.signerInfos.push(signer)],
  [
    'no signer',
    (data) => {
      data.signerInfos = []
    },
  ],
  [
    'another type around it',
    (_, __, info) => {
      info.contentType = ENVELOPED_DATA
    },
  ],
  [
    'content of another type',
    (data) => {
      data.encapContentInfo.eContentType = ENVELOPED_DATA
    },
  ],
  [
    'no content',
    (data) => {
      delete data.encapContentInfo.eContent
    },
  ],
  [
    'a certificate',
    (data) => {
      const [anybody] = certificatesIn(Buffer.from(ALIYUN_IDENTITY_CERTIFICATE))
      data.certificates = [Certificate.fromBER(Uint8Array.from(anybody?.der ?? []))]
    },
  ],
  [
    'signed attributes',
    (_, signer) => {
      signer.signedAttrs = attributes(0)
    },
  ],
  [
    'unsigned attributes',
    (_, signer) => {
      signer.unsignedAttrs = attributes(1)
    },
  ],
  [
    'another digest among those that are named',
    (data) => {
      for (const algorithm of data.digestAlgorithms) algorithm.algorithmId = SHA256
    },
  ],
  [
    'another digest of the signer',
    (_, signer) => {
      signer.digestAlgorithm.algorithmId = SHA256
    },
  ],
  [
    'another signature algorithm',
    (_, signer) => {
      signer.signatureAlgorithm.algorithmId = SHA256_WITH_RSA
    },
  ],
]

export function ofAnotherSigner(_: SignedData, { sid }: SignedData['signerInfos'][0]): void {
  if (sid instanceof IssuerAndSerialNumber) sid.serialNumber = new Integer({ value: 7 })
}

export function ofAnotherIssuer(_: SignedData, { sid }: SignedData['signerInfos'][0]): void {
  if (sid instanceof IssuerAndSerialNumber) sid.issuer = new RelativeDistinguishedNames()
}

export function reshaped(pkcs7: Buffer, change: Change): Buffer {
  const info = ContentInfo.fromBER(Uint8Array.from(pkcs7))
  const data = new SignedData({ schema: info.content })
  const [signer] = data.signerInfos
  if (signer === undefined) throw new Error('no signer')
  change(data, signer, info)
  info.content = data.toSchema(true)
  return Buffer.from(info.toSchema().toBER())
}
