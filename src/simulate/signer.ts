/**
 * The key that signs identity documents, and the vendor's PKCS7 (ECS user guide, "Instance identity"),
 * written out member by member because its shape is not what CMS libraries make: SHA-1, content
 * attached, no certificates, no signed attributes.
 */
import { generateKeyPair, type KeyObject, sign } from 'node:crypto'
import { promisify } from 'node:util'
import { Set as DerSet, Integer, type Sequence } from 'asn1js'
import { type SelfSignedCertificate, selfSign, toPem } from './certificate.ts'
import { algorithm, encode, explicit, OID, octets, oid, sequence } from './der.ts'

export interface Signer {
  readonly certificatePem: string
  /** Base64 text without armour, of a SignedData that contains `content`. */
  signPkcs7(content: string): string
}

let processSigner: Promise<Signer> | undefined

/** One signer for all simulators of a process, as the vendor has one for all regions. */
export function sharedSigner(): Promise<Signer> {
  processSigner ??= createSigner()
  return processSigner
}

/** Makes an RSA-2048 key and its self-signed certificate. */
export async function createSigner(): Promise<Signer> {
  const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: 2048 })
  const certificate = selfSign(privateKey)
  return {
    certificatePem: toPem(certificate),
    signPkcs7: (content) =>
      encode(signedData(Buffer.from(content), privateKey, certificate)).toString('base64'),
  }
}

function signedData(content: Buffer, key: KeyObject, certificate: SelfSignedCertificate): Sequence {
  const sha1 = algorithm(OID.sha1)
  const signerInfo = sequence(
    new Integer({ value: 1 }),
    sequence(certificate.issuer, certificate.serialNumber),
    sha1,
    algorithm(OID.rsaEncryption),
    octets(sign('RSA-SHA1', content, key)),
  )
  const signed = sequence(
    new Integer({ value: 1 }),
    new DerSet({ value: [sha1] }),
    sequence(oid(OID.data), explicit(0, octets(content))),
    new DerSet({ value: [signerInfo] }),
  )
  return sequence(oid(OID.signedData), explicit(0, signed))
}
