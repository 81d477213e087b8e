import { MetabindError } from '../errors.ts'
import { groupedBy } from '../format/grouped.ts'
import type { Certificate } from './certificate.ts'
import { hasKeyUsage, KEY_USAGE } from './certificate-extensions.ts'
import { isSignedBy, mayBeSignedBy, requireStrongSignature } from './certificate-signature.ts'
import { type Crl, comparableSerial } from './crl.ts'
import { isInScope } from './crl-scope.ts'
import { linksOf } from './path-links.ts'

/**
 * Revocation by lists that the caller has (RFC 5280 6.3, offline). A list is an issuer's if its key
 * signed it: a list of somebody of the same name is none. What is on a list is revoked, however old
 * the list; what is on none passes only if one of the lists that are about it is current.
 */
export interface Revocation {
  readonly crls: Crls
  /** Whether a certificate without any list is refused. */
  readonly demandCrls: boolean
}

/** Lists by their comparableIssuer. */
export type Crls = ReadonlyMap<string, readonly Crl[]>

export const NO_CRLS: Revocation = { crls: new Map(), demandCrls: false }

/** CRLReason (RFC 5280 5.3.1). */
const REASONS: ReadonlyMap<number, string> = new Map([
  [1, 'keyCompromise'],
  [2, 'cACompromise'],
  [3, 'affiliationChanged'],
  [4, 'superseded'],
  [5, 'cessationOfOperation'],
  [6, 'certificateHold'],
  [9, 'privilegeWithdrawn'],
  [10, 'aACompromise'],
])

export function byIssuer(lists: readonly Crl[]): Crls {
  return groupedBy(lists, ({ comparableIssuer }) => comparableIssuer)
}

/**
 * Demands that no certificate of the path but the anchor is revoked.
 *
 * @param path leaf first, anchor last, its signatures verified
 * @throws MetabindError VERIFY_CERTIFICATE_REVOKED, VERIFY_CERTIFICATE_CRL
 */
export function requireNotRevoked(
  path: readonly Certificate[],
  { crls, demandCrls }: Revocation,
  nowMs: number,
): void {
  for (const [certificate, issuer] of linksOf(path)) {
    const lists = listsFor(certificate, issuer, crls)
    requireOnNone(certificate, lists)
    const isCovered = lists.some((list) => isCurrent(list, nowMs))
    if (lists.length > 0 && !isCovered) refuseStale(certificate, lists)
    if (!isCovered && demandCrls) {
      refuse('VERIFY_CERTIFICATE_CRL', `None is given for the issuer of ${nameOf(certificate)}.`)
    }
  }
}

/** Whether a current list is about each certificate of a path that requireNotRevoked let pass. */
export function isCoveredByCrls(path: readonly Certificate[], crls: Crls, nowMs: number): boolean {
  const links = linksOf(path)
  const isCovered = ([certificate, issuer]: (typeof links)[number]) =>
    listsFor(certificate, issuer, crls).some((list) => isCurrent(list, nowMs))
  return links.length > 0 && links.every(isCovered)
}

/** The issuer's lists that are about a certificate. */
function listsFor(certificate: Certificate, issuer: Certificate, crls: Crls): readonly Crl[] {
  const named = crls.get(certificate.comparableIssuer) ?? []
  const own = named.filter((list) => isIssuedBy(list, issuer))
  // RFC 5280 6.3.3 (f).
  if (own.length > 0 && hasKeyUsage(issuer, KEY_USAGE.crlSign) === false) {
    refuse('VERIFY_CERTIFICATE_CRL', `${nameOf(issuer)} may not sign lists.`)
  }
  return own.filter(({ scope }) => isInScope(scope, certificate))
}

/** A list that names this key and was not signed by it is refused: it was altered, or is forged. */
function isIssuedBy(list: Crl, issuer: Certificate): boolean {
  const { authorityKeyId: keyId } = list
  const { subjectKeyId } = issuer
  const isNamed = keyId !== undefined && subjectKeyId !== undefined
  if (isNamed && !keyId.equals(subjectKeyId)) return false
  if (isSignatureOf(list, issuer)) return true
  if (isNamed) refuse('VERIFY_CERTIFICATE_CRL', 'The signature of a list does not verify.')
  return false
}

/** Verifying hashes the whole list, which may be 16 MiB: once for each of the keys that it may be of. */
const signers = new WeakMap<Crl, Map<string, boolean>>()
const SIGNERS_MAX = 16

function isSignatureOf(list: Crl, issuer: Certificate): boolean {
  const known = signers.get(list) ?? new Map<string, boolean>()
  signers.set(list, known)
  const key = issuer.publicKey.toString('base64')
  const before = known.get(key)
  if (before !== undefined) return before
  if (!mayBeSignedBy(list, issuer)) return false
  requireStrongList(list, issuer)
  const isSigned = isSignedBy(list, issuer)
  if (known.size < SIGNERS_MAX) known.set(key, isSigned)
  return isSigned
}

function requireStrongList(list: Crl, issuer: Certificate): void {
  try {
    requireStrongSignature(list, issuer)
  } catch (error) {
    if (!(error instanceof MetabindError)) throw error
    throw new MetabindError('VERIFY_CERTIFICATE_CRL', `A list: ${error.detail}`, error)
  }
}

function requireOnNone(certificate: Certificate, lists: readonly Crl[]): void {
  const serial = comparableSerial(certificate.serialNumber)
  for (const { revoked } of lists) {
    const entry = revoked.get(serial)
    if (entry === undefined) continue
    const why = REASONS.get(entry.reason)
    refuse(
      'VERIFY_CERTIFICATE_REVOKED',
      `${nameOf(certificate)}, serial number ${serial}, since ${entry.date.toISOString()}${why === undefined ? '' : `: ${why}`}.`,
    )
  }
}

function isCurrent({ thisUpdate, nextUpdate }: Crl, nowMs: number): boolean {
  return thisUpdate.getTime() <= nowMs && nextUpdate !== undefined && nowMs <= nextUpdate.getTime()
}

function refuseStale(certificate: Certificate, lists: readonly Crl[]): never {
  const times = lists.map(
    ({ thisUpdate, nextUpdate }) =>
      `${thisUpdate.toISOString()} to ${nextUpdate?.toISOString() ?? 'no end'}`,
  )
  const shown = times.slice(0, 4).join(', ')
  refuse('VERIFY_CERTIFICATE_CRL', `For ${nameOf(certificate)} there is only ${shown}.`)
}

function nameOf({ fingerprint }: Certificate): string {
  return `certificate ${fingerprint.slice(0, 16)}…`
}

function refuse(
  code: 'VERIFY_CERTIFICATE_REVOKED' | 'VERIFY_CERTIFICATE_CRL',
  detail: string,
): never {
  throw new MetabindError(code, detail)
}
