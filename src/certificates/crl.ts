import { MetabindError } from '../errors.ts'
import { type CrlExtension, crlExtensions, oidOf } from './crl-extensions.ts'
import { type CrlScope, scopeOf } from './crl-scope.ts'
import { type DerElement, derElements, parseDer } from './der.ts'
import { derTime } from './der-time.ts'
import { comparableName } from './distinguished-name.ts'
import { EXTENSION } from './extension-oids.ts'
import { authorityKeyIdOf } from './key-identifiers.ts'

/**
 * A certificate revocation list (RFC 5280 5): complete, of one issuer, without the delta and indirect
 * kinds. What is between is read by elements and not by a library, which would make objects of every
 * byte: a list may have a hundred thousand entries, which are gone through once.
 */
export interface Crl {
  readonly comparableIssuer: string
  /** Undefined as well if the issuer's key is named in another way. */
  readonly authorityKeyId: Buffer | undefined
  readonly thisUpdate: Date
  readonly nextUpdate: Date | undefined
  readonly scope: CrlScope
  /** By serial number in hex, as comparableSerial has it. */
  readonly revoked: ReadonlyMap<string, Revocation>
  readonly signatureAlgorithm: string
  readonly tbs: Buffer
  readonly signature: Buffer
}

interface Revocation {
  readonly date: Date
  /** CRLReason (RFC 5280 5.3.1). */
  readonly reason: number
}

/** Longest list: 400,000 entries. DER of more bytes is refused in any case. */
export const CRL_BYTES_MAX = 0xff_ffff
const SEQUENCE = 0x30
const INTEGER = 0x02
const BIT_STRING = 0x03
const EXTENSIONS = 0xa0
const ENUMERATED = 0x0a

/** Critical extensions of a list that mean something here, or whose meaning changes nothing here. */
const KNOWN: ReadonlySet<string> = new Set([
  EXTENSION.authorityKeyIdentifier,
  EXTENSION.issuerAltName,
  EXTENSION.crlNumber,
  EXTENSION.issuingDistributionPoint,
])

/**
 * Parses a list in DER.
 *
 * @throws MetabindError VERIFY_CRL_FILE; what its scope is, is judged here, and its signature is not
 */
export function parseCrl(der: Uint8Array): Crl {
  if (der.length > CRL_BYTES_MAX) refuse('too long')
  try {
    return readCrl(Buffer.from(der))
  } catch (error) {
    if (error instanceof MetabindError && error.code === 'VERIFY_CERTIFICATE') {
      throw new MetabindError('VERIFY_CRL_FILE', error.detail, error)
    }
    throw error
  }
}

/** CertificateList: tbsCertList, signatureAlgorithm, signatureValue. */
function readCrl(der: Buffer): Crl {
  const [tbs, algorithm, signature] = membersOf(only(der, SEQUENCE), 3)
  if (tbs?.tag !== SEQUENCE || algorithm === undefined || signature?.tag !== BIT_STRING) {
    return refuse('no CertificateList')
  }
  const { signed, ...fields } = readTbs(tbs)
  // Named twice, inside and outside of what is signed; RFC 5280 5.1.1.2 wants one.
  if (!signed.equals(algorithm.bytes)) refuse('two signature algorithms')
  const [oid] = parseDer(algorithm.bytes).children
  return {
    ...fields,
    signatureAlgorithm: oidOf(oid),
    tbs: tbs.bytes,
    signature: signature.content.subarray(1),
  }
}

/** TBSCertList: version?, signature, issuer, thisUpdate, nextUpdate?, revokedCertificates?, [0] extensions? */
function readTbs(tbs: DerElement) {
  const members = membersOf(tbs, 7)
  const isVersion2 = members[0]?.tag === INTEGER
  if (isVersion2 && members.shift()?.content.equals(Buffer.of(1)) !== true) refuse('its version')
  const [signed, issuer, thisUpdate] = members.splice(0, 3)
  if (!signed || issuer?.tag !== SEQUENCE || !thisUpdate) return refuse('fields are missing')
  const nextUpdate = isTime(members[0]) ? members.shift() : undefined
  const entries = members[0]?.tag === SEQUENCE ? members.shift() : undefined
  const last = members.shift()
  if (members.length > 0 || (last !== undefined && last.tag !== EXTENSIONS)) refuse('its fields')
  if (last !== undefined && !isVersion2) refuse('extensions in version 1')
  const extensions = knownExtensions(last)
  const keyId = extensions.get(EXTENSION.authorityKeyIdentifier)?.value
  return {
    signed: signed.bytes,
    comparableIssuer: comparableName(parseDer(issuer.bytes)),
    authorityKeyId: keyId && authorityKeyIdOf(keyId),
    thisUpdate: derTime(thisUpdate),
    nextUpdate: nextUpdate && derTime(nextUpdate),
    scope: scopeOf(extensions.get(EXTENSION.issuingDistributionPoint)?.value),
    revoked: readEntries(entries, isVersion2),
  }
}

function knownExtensions(wrapped: DerElement | undefined): ReadonlyMap<string, CrlExtension> {
  if (wrapped === undefined) return new Map()
  const extensions = crlExtensions(only(wrapped.content, SEQUENCE))
  if (extensions.has(EXTENSION.deltaCrlIndicator)) refuse('a delta CRL')
  for (const [oid, { critical }] of extensions) {
    if (critical && !KNOWN.has(oid)) refuse(`a critical extension that is not known: ${oid}`)
  }
  return extensions
}

/** Each: serial number, date, and extensions. */
function readEntries(list: DerElement | undefined, mayHaveExtensions: boolean): Crl['revoked'] {
  const revoked = new Map<string, Revocation>()
  for (const entry of list === undefined ? [] : derElements(list.content)) {
    if (entry.tag !== SEQUENCE) refuse('an entry is none')
    const [serial, date, extensions] = membersOf(entry, 3)
    if (serial?.tag !== INTEGER || date === undefined) return refuse('an entry is none')
    if (extensions !== undefined && !mayHaveExtensions) refuse('extensions in version 1')
    const revocation = { date: derTime(date), reason: reasonOf(extensions) }
    revoked.set(comparableSerial(serial.content.toString('hex')), revocation)
  }
  return revoked
}

/** An entry that another authority issued names it in a critical extension: that is an indirect CRL. */
function reasonOf(element: DerElement | undefined): number {
  if (element === undefined) return 0
  if (element.tag !== SEQUENCE) refuse('an entry has something else than extensions')
  const extensions = crlExtensions(element)
  if (extensions.has(EXTENSION.certificateIssuer)) refuse('an indirect CRL')
  for (const [oid, { critical }] of extensions) {
    if (critical && oid !== EXTENSION.reasonCode) {
      refuse(`a critical extension of an entry that is not known: ${oid}`)
    }
  }
  const reason = extensions.get(EXTENSION.reasonCode)?.value
  return reason === undefined ? 0 : only(reason, ENUMERATED).content.readUInt8(0)
}

/** Without zero bytes before the first that counts. @param serialNumber in hex */
export function comparableSerial(serialNumber: string): string {
  return serialNumber.replace(/^(?:00)+(?=..)/, '')
}

function isTime(element: DerElement | undefined): boolean {
  return element?.tag === 0x17 || element?.tag === 0x18
}

function only(bytes: Buffer, tag: number): DerElement {
  const [element, ...more] = firstOf(derElements(bytes), 2)
  if (element?.tag !== tag || more.length > 0 || element.content.length === 0) {
    return refuse('its structure')
  }
  return element
}

function membersOf({ content }: DerElement, max: number): DerElement[] {
  const members = firstOf(derElements(content), max + 1)
  return members.length > max ? refuse('too many fields') : members
}

function firstOf(elements: Iterable<DerElement>, count: number): DerElement[] {
  const found: DerElement[] = []
  for (const element of elements) {
    found.push(element)
    if (found.length === count) break
  }
  return found
}

/**
 * The lists in a file: PEM, several of them and with any text around them, or one in DER.
 *
 * @throws MetabindError VERIFY_CRL_FILE
 */
export function crlsIn(file: Uint8Array): Crl[] {
  if (file[0] === SEQUENCE) return [parseCrl(file)]
  const text = Buffer.from(file).toString('latin1')
  const blocks = [...text.matchAll(/-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]+)-----END X509 CRL/g)]
  // A list that is passed over revokes nothing, and nobody would notice.
  if (text.split('-----BEGIN X509 CRL').length - 1 !== blocks.length) refuse('a damaged list')
  return blocks.map(([, base64 = '']) => parseCrl(Buffer.from(base64, 'base64')))
}

function refuse(what: string): never {
  throw new MetabindError('VERIFY_CRL_FILE', `Found: ${what}.`)
}
