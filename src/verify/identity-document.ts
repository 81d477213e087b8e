import { type KeyObject, verify } from 'node:crypto'
import { OctetString } from 'asn1js'
import { ContentInfo, IssuerAndSerialNumber, SignedData, type SignerInfo } from 'pkijs'
import { z } from 'zod'
import type { Certificate } from '../certificates/certificate.ts'
import { parseDer } from '../certificates/der.ts'
import { MetabindError } from '../errors.ts'
import { KEY_OIDS, SHA1, SHA1_OID } from '../format/algorithms.ts'

/**
 * Alibaba Cloud's instance identity document, signed: a PKCS#7 SignedData (RFC 5652) of one shape.
 * This one place accepts SHA-1, because the vendor signs so; the collision that would help a forger
 * needs the vendor to sign chosen bytes, of which the audience is the only part. It proves that
 * somebody could ask this instance's metadata service for this audience, not that it has a TPM.
 */

const OID = {
  data: '1.2.840.113549.1.7.1',
  signedData: '1.2.840.113549.1.7.2',
} as const

/** Members that are used; the vendor has more, and may add some. */
const documentSchema = z.looseObject({
  'instance-id': z.string(),
  audience: z.string().optional(),
})

export type IdentityDocument = z.infer<typeof documentSchema>

/** A SignedData taken apart. */
export interface SignedDocument {
  readonly content: Buffer
  readonly signature: Buffer
  readonly signer: SignerInfo
}

/**
 * Parses strictly: one signer by issuer and serial number, SHA-1, RSA, no attributes, no
 * certificates, content within. What differs is refused, not interpreted.
 *
 * @throws MetabindError VERIFY_DOCUMENT
 */
export function parseSignedDocument(pkcs7: Uint8Array): SignedDocument {
  const signedData = parseSignedData(pkcs7)
  const [signer, ...others] = signedData.signerInfos
  const { eContentType, eContent } = signedData.encapContentInfo
  if (signer === undefined || others.length > 0) malformed('not one signer')
  if (signer.signedAttrs || signer.unsignedAttrs) malformed('attributes')
  if (signedData.certificates?.length || signedData.crls?.length) malformed('certificates')
  if (eContentType !== OID.data || eContent === undefined) malformed('no content')
  const digests = [...signedData.digestAlgorithms, signer.digestAlgorithm]
  if (digests.some(({ algorithmId }) => algorithmId !== SHA1_OID)) malformed('not SHA-1')
  if (signer.signatureAlgorithm.algorithmId !== KEY_OIDS.rsa) malformed('not RSA')
  return { content: octets(eContent), signature: octets(signer.signature), signer }
}

function parseSignedData(pkcs7: Uint8Array): SignedData {
  try {
    parseDer(pkcs7)
    const contentInfo = ContentInfo.fromBER(Uint8Array.from(pkcs7))
    if (contentInfo.contentType !== OID.signedData) throw new Error('no SignedData')
    return new SignedData({ schema: contentInfo.content })
  } catch (error) {
    throw new MetabindError('VERIFY_DOCUMENT', 'It is no SignedData in DER.', error)
  }
}

/** The bytes of an OCTET STRING in one piece: in DER it is never in parts. */
function octets(octetString: OctetString): Buffer {
  if (!(octetString instanceof OctetString)) malformed('content is no OCTET STRING')
  return Buffer.from(octetString.valueBlock.valueHexView)
}

/** @throws MetabindError VERIFY_DOCUMENT_SIGNATURE if another key, or other bytes, were signed */
export function requireDocumentSignature(
  document: SignedDocument,
  pinned: Certificate,
  key: KeyObject,
): void {
  const { sid } = document.signer
  const isNamed =
    sid instanceof IssuerAndSerialNumber &&
    Buffer.from(sid.issuer.toSchema().toBER()).equals(pinned.issuer) &&
    Buffer.from(sid.serialNumber.valueBlock.valueHexView).toString('hex') === pinned.serialNumber
  if (!isNamed || !verify(SHA1, document.content, key, document.signature)) {
    throw new MetabindError('VERIFY_DOCUMENT_SIGNATURE')
  }
}

/**
 * The members of the signed content. Whoever chose the audience may have tried to smuggle a second
 * "instance-id" in behind a quotation mark: the content must be exactly what it reads as.
 *
 * @throws MetabindError VERIFY_DOCUMENT
 */
export function readDocument({ content }: SignedDocument): IdentityDocument {
  const text = content.toString('utf8')
  const json = jsonOf(text)
  const parsed = documentSchema.safeParse(json)
  if (!parsed.success) malformed('no instance-id')
  if (JSON.stringify(json) !== text) malformed('a member stands twice, or blanks')
  return parsed.data
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new MetabindError('VERIFY_DOCUMENT', 'Its content is not JSON.', error)
  }
}

function malformed(why: string): never {
  throw new MetabindError('VERIFY_DOCUMENT', `Found: ${why}.`)
}
