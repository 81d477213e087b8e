import { createHash, createPublicKey, randomBytes } from 'node:crypto'
import { BitString, Set as DerSet, Integer, OctetString, Sequence, Utf8String } from 'asn1js'
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  CertificatePolicies,
  createCMSECDSASignature,
  Extension,
  ExtKeyUsage,
  GeneralName,
  GeneralNames,
  PolicyInformation,
  PublicKeyInfo,
  RelativeDistinguishedNames,
  Time,
} from 'pkijs'
import type { PrivateKey } from '../registrar-keys/private-key.ts'

/**
 * Certificates of attestation keys, by the TCG's "TPM 2.0 Keys for Device Identity and Attestation", with the name of the
 * TPM as in its EK Credential Profile 2.5, 3.2, and by WebAuthn Level 3, 8.3.1.
 */

const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  certificatePolicies: '2.5.29.32',
  authorityKeyIdentifier: '2.5.29.35',
  extKeyUsage: '2.5.29.37',
  /** tcg-kp-AIKCertificate */
  aikCertificate: '2.23.133.8.3',
} as const
/** tcg-cap-verifiedTPMResidency, -verifiedTPMFixed, -verifiedTPMRestricted: the verifier has looked at all three. */
const VERIFIED = ['2.23.133.11.1.1', '2.23.133.11.1.2', '2.23.133.11.1.3']

/** Bits of KeyUsage in its one byte (RFC 5280, 4.2.1.3), and how many behind the last of them are not used. */
const DIGITAL_SIGNATURE = { bits: 0x80, unused: 7 }
const CERTIFICATES_AND_CRLS = { bits: 0x06, unused: 1 }

const SERIAL_BYTES = 16
/** RFC 5280, A.1: ub-common-name. The instance is named in full as an alternative name. */
const COMMON_NAME_CHARACTERS_MAX = 64
/** Times from it on are written in another form (RFC 5280, 4.1.2.5). */
const GENERALIZED_FROM_YEAR = 2050

/** Manufacturer, model and version of a TPM, each an OID and a text. */
type TpmAttributes = readonly (readonly [oid: string, text: string])[]

export interface Validity {
  readonly notBefore: Date
  readonly notAfter: Date
}

/** Whoever certifies attestation keys. */
export interface AkIssuer {
  /** P-256. */
  readonly key: PrivateKey
  /** DER. */
  readonly certificate: Buffer
}

/** A self-signed certificate of a key that certifies attestation keys. @param url of the registrar @returns DER */
export function akIssuerCertificate(
  key: PrivateKey,
  { name, url }: { readonly name: string; readonly url: string },
  validity: Validity,
): Promise<Buffer> {
  const jwk = { key: { ...key.publicJwk }, format: 'jwk' } as const
  const spki = createPublicKey(jwk).export({ type: 'spki', format: 'der' })
  const own = nameOf([[OID.commonName, name]])
  const keyId = keyIdOf(publicKeyInfo(spki))
  return signed(key, spki, { issuer: own, subject: own, validity }, [
    extension(OID.basicConstraints, new BasicConstraints({ cA: true, pathLenConstraint: 0 }), true),
    keyUsage(CERTIFICATES_AND_CRLS),
    extension(OID.subjectKeyIdentifier, keyId),
    extension(OID.authorityKeyIdentifier, new AuthorityKeyIdentifier({ keyIdentifier: keyId })),
    extension(OID.subjectAltName, new GeneralNames({ names: [uri(url)] })),
  ])
}

/** What is certified: a key, the TPM that it is in, and the instance that it belongs to. */
export interface CertifiedAk {
  /** SubjectPublicKeyInfo as DER, in base64. */
  readonly spki: string
  /** By a certificate of the EK that an anchor vouches for; undefined if there is none. */
  readonly tpm?: TpmAttributes | undefined
  /** What tokens name the instance by. */
  readonly instance: string
}

/**
 * A certificate of an attestation key. If the TPM is known by its maker's certificate, its name stands for the subject,
 * as the profile has it; else that of the instance does.
 *
 * @returns DER
 */
export function akCertificate(
  { key, certificate }: AkIssuer,
  { spki, tpm, instance }: CertifiedAk,
  validity: Validity,
): Promise<Buffer> {
  const issuer = Certificate.fromBER(Uint8Array.from(certificate))
  const keyIdentifier = keyIdOf(issuer.subjectPublicKeyInfo)
  const cut = instance.slice(0, COMMON_NAME_CHARACTERS_MAX)
  const subject = nameOf(tpm === undefined ? [[OID.commonName, cut]] : [])
  const tpmNames = tpm === undefined ? [] : [new GeneralName({ type: 4, value: nameOf(tpm) })]
  const names = new GeneralNames({ names: [...tpmNames, uri(instance)] })
  const policies = VERIFIED.map((policyIdentifier) => new PolicyInformation({ policyIdentifier }))
  const certified = Buffer.from(spki, 'base64')
  return signed(key, certified, { issuer: issuer.subject, subject, validity }, [
    extension(OID.basicConstraints, new BasicConstraints({ cA: false }), true),
    keyUsage(DIGITAL_SIGNATURE),
    extension(OID.extKeyUsage, new ExtKeyUsage({ keyPurposes: [OID.aikCertificate] })),
    // RFC 5280, 4.1.2.6: where it stands for the subject it is critical.
    extension(OID.subjectAltName, names, tpm !== undefined),
    extension(OID.certificatePolicies, new CertificatePolicies({ certificatePolicies: policies })),
    extension(OID.authorityKeyIdentifier, new AuthorityKeyIdentifier({ keyIdentifier })),
  ])
}

interface Named {
  readonly issuer: RelativeDistinguishedNames
  readonly subject: RelativeDistinguishedNames
  readonly validity: Validity
}

async function signed(
  key: PrivateKey,
  spki: Buffer,
  { issuer, subject, validity }: Named,
  extensions: Extension[],
): Promise<Buffer> {
  const algorithm = new AlgorithmIdentifier({ algorithmId: OID.ecdsaWithSha256 })
  const certificate = new Certificate({
    version: 2,
    serialNumber: newSerial(),
    signature: algorithm,
    signatureAlgorithm: algorithm,
    issuer,
    subject,
    notBefore: time(validity.notBefore),
    notAfter: time(validity.notAfter),
    subjectPublicKeyInfo: publicKeyInfo(spki),
    extensions,
  })
  const toBeSigned = Buffer.from(certificate.encodeTBS().toBER())
  certificate.tbsView = toBeSigned
  // r and s are a sequence here (RFC 3279, 2.2.3).
  const rAndS = bufferOf(await key.sign(toBeSigned))
  certificate.signatureValue = new BitString({ valueHex: createCMSECDSASignature(rAndS) })
  return Buffer.from(certificate.toSchema(true).toBER())
}

/** Positive and of a fixed length: the first byte is neither zero nor has its first bit set. */
function newSerial(): Integer {
  const bytes = randomBytes(SERIAL_BYTES)
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return new Integer({ valueHex: bufferOf(bytes) })
}

function time(value: Date): Time {
  return new Time({ type: value.getUTCFullYear() < GENERALIZED_FROM_YEAR ? 0 : 1, value })
}

function nameOf(attributes: TpmAttributes): RelativeDistinguishedNames {
  const parts = attributes.map(([type, text]) => {
    const value = new Utf8String({ value: text })
    return new AttributeTypeAndValue({ type, value }).toSchema()
  })
  // The library would put them into one set, in an order that is not the one of DER (X.690, 11.6).
  const sets = parts.map((part) => new DerSet({ value: [part] }))
  return RelativeDistinguishedNames.fromBER(new Sequence({ value: sets }).toBER())
}

function uri(value: string): GeneralName {
  return new GeneralName({ type: 6, value })
}

function keyUsage({ bits, unused }: typeof DIGITAL_SIGNATURE): Extension {
  const value = new BitString({ valueHex: bufferOf(Uint8Array.of(bits)), unusedBits: unused })
  return new Extension({ extnID: OID.keyUsage, critical: true, extnValue: value.toBER() })
}

function extension(
  extnID: string,
  value: { toSchema(): { toBER(): ArrayBuffer } } | OctetString,
  critical = false,
): Extension {
  const encoded = value instanceof OctetString ? value.toBER() : value.toSchema().toBER()
  return new Extension({ extnID, critical, extnValue: encoded })
}

function publicKeyInfo(spki: Uint8Array): PublicKeyInfo {
  return PublicKeyInfo.fromBER(Uint8Array.from(spki))
}

/** SHA-1 of the key's bits (RFC 5280, 4.2.1.2): a name, and no protection. */
function keyIdOf({ subjectPublicKey }: PublicKeyInfo): OctetString {
  const bits = subjectPublicKey.valueBlock.valueHexView
  return new OctetString({ valueHex: bufferOf(createHash('sha1').update(bits).digest()) })
}

/** An ArrayBuffer of exactly these bytes. */
function bufferOf(bytes: Uint8Array): ArrayBuffer {
  return Uint8Array.from(bytes).buffer
}
