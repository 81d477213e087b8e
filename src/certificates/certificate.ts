import { createHash } from 'node:crypto'
import { Certificate as PkiCertificate } from 'pkijs'
import { MetabindError } from '../errors.ts'
import { CERTIFICATE_BYTES_MAX } from '../format/evidence.ts'
import { type DerNode, parseDer } from './der.ts'
import { derTime } from './der-time.ts'
import { comparableName } from './distinguished-name.ts'
import { EXTENSION } from './extension-oids.ts'
import { authorityKeyIdOf, subjectKeyIdOf } from './key-identifiers.ts'

/** An extension, its value still DER (RFC 5280 4.2). */
export interface CertificateExtension {
  readonly critical: boolean
  readonly value: Buffer
}

/** An X.509 certificate, taken apart. Nothing in it is verified. */
export interface Certificate {
  readonly der: Buffer
  /** SHA-256 of the DER, in hex. */
  readonly fingerprint: string
  /** 1 to 3. */
  readonly version: number
  /** Names as DER. */
  readonly subject: Buffer
  readonly issuer: Buffer
  /** The same as comparableName makes them: equal if the names are. */
  readonly comparableSubject: string
  readonly comparableIssuer: string
  readonly subjectKeyId: Buffer | undefined
  /** Undefined as well if the issuer is named in another way. */
  readonly authorityKeyId: Buffer | undefined
  readonly serialNumber: string
  readonly notBefore: Date
  readonly notAfter: Date
  /** SubjectPublicKeyInfo as DER. */
  readonly publicKey: Buffer
  readonly signatureAlgorithm: string
  /** What the signature is over, as it stands in the certificate. */
  readonly tbs: Buffer
  readonly signature: Buffer
  readonly extensions: ReadonlyMap<string, CertificateExtension>
}

/**
 * Parses a DER certificate.
 *
 * @throws MetabindError VERIFY_CERTIFICATE
 */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > CERTIFICATE_BYTES_MAX) malformed('too long')
  // A copy: what comes of it is kept for longer than the caller may leave these bytes alone.
  const bytes = Buffer.from(der)
  const root = parseDer(bytes)
  const parsed = parseWithLibrary(der)
  const fields = tbsFields(root)
  const { serialNumber, signatureAlgorithm, signatureValue } = parsed
  return {
    der: bytes,
    fingerprint: createHash('sha256').update(der).digest('hex'),
    version: parsed.version + 1,
    ...fields,
    serialNumber: Buffer.from(serialNumber.valueBlock.valueHexView).toString('hex'),
    signatureAlgorithm: signatureAlgorithm.algorithmId,
    signature: Buffer.from(signatureValue.valueBlock.valueHexView),
    ...extensionsOf(parsed),
  }
}

function parseWithLibrary(der: Uint8Array): PkiCertificate {
  try {
    return PkiCertificate.fromBER(Uint8Array.from(der))
  } catch (error) {
    throw new MetabindError('VERIFY_CERTIFICATE', 'It is no X.509 certificate.', error)
  }
}

/**
 * TBSCertificate: [0] version, serialNumber, signature, issuer, validity, subject, publicKey, …
 * The algorithm is named again outside of what is signed; RFC 5280 4.1.1.2 wants the same.
 */
function tbsFields(root: DerNode) {
  const tbs = memberOf(root, 0)
  const first = memberOf(tbs, 0).tag === 0xa0 ? 1 : 0
  if (!memberOf(tbs, first + 1).bytes.equals(memberOf(root, 1).bytes)) {
    malformed('two signature algorithms')
  }
  const issuer = memberOf(tbs, first + 2)
  const validity = memberOf(tbs, first + 3)
  const subject = memberOf(tbs, first + 4)
  return {
    tbs: tbs.bytes,
    // The library takes times of other forms, and what is none for one of the year 1899.
    notBefore: derTime(memberOf(validity, 0)),
    notAfter: derTime(memberOf(validity, 1)),
    subject: subject.bytes,
    issuer: issuer.bytes,
    comparableSubject: comparableName(subject),
    comparableIssuer: comparableName(issuer),
    publicKey: memberOf(tbs, first + 5).bytes,
  }
}

function memberOf({ children }: DerNode, at: number): DerNode {
  return children[at] ?? malformed('a field is missing')
}

function extensionsOf(
  parsed: PkiCertificate,
): Pick<Certificate, 'extensions' | 'subjectKeyId' | 'authorityKeyId'> {
  const extensions = new Map<string, CertificateExtension>()
  for (const { extnID, critical, extnValue } of parsed.extensions ?? []) {
    if (extensions.has(extnID)) malformed('an extension stands twice')
    extensions.set(extnID, { critical, value: Buffer.from(extnValue.valueBlock.valueHexView) })
  }
  const subjectKeyId = extensions.get(EXTENSION.subjectKeyIdentifier)?.value
  const authorityKeyId = extensions.get(EXTENSION.authorityKeyIdentifier)?.value
  return {
    extensions,
    subjectKeyId: subjectKeyId && subjectKeyIdOf(subjectKeyId),
    authorityKeyId: authorityKeyId && authorityKeyIdOf(authorityKeyId),
  }
}

function malformed(why: string): never {
  throw new MetabindError('VERIFY_CERTIFICATE', `${why}.`)
}

/**
 * The certificates in a file: PEM, several of them and with any text around them, or one in DER.
 *
 * @throws MetabindError VERIFY_CERTIFICATE
 */
export function certificatesIn(file: Uint8Array): Certificate[] {
  if (file[0] === 0x30) return [parseCertificate(file)]
  const text = Buffer.from(file).toString('latin1')
  const blocks = text.matchAll(
    /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE/g,
  )
  return [...blocks].map(([, base64 = '']) => parseCertificate(Buffer.from(base64, 'base64')))
}
