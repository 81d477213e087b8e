import { MetabindError, type VerifyCode } from '../errors.ts'
import { groupedBy } from '../format/grouped.ts'
import { timeMsOf } from '../format/time.ts'
import type { Certificate } from './certificate.ts'
import { basicConstraints, hasKeyUsage, KEY_USAGE } from './certificate-extensions.ts'
import { requireIssuerSignature, requireStrongSignature } from './certificate-signature.ts'
import { EXTENSION } from './extension-oids.ts'
import { requirePermittedNames } from './name-constraints.ts'
import { linksOf } from './path-links.ts'
import { NO_CRLS, type Revocation, requireNotRevoked } from './revocation.ts'

/**
 * Path validation of RFC 5280 6.1 for the short chains of TPM keys: small, strict, offline. What it
 * does not know it refuses: policy constraints, every other critical extension.
 */

/** Leaf, five authorities between, anchor: the longest that makers of TPMs have. */
export const PATH_MAX = 7
// Names may match in many ways if somebody wants them to; genuine chains have one path.
const PATHS_MAX = 16
// Certificates looked at as issuers, on paths that lead nowhere as well: seven of one name would be
// put into any order. A genuine path needs a few for each of its links.
const STEPS_MAX = 1024

/** Certificates that end a path, by SHA-256 of their DER. */
export interface Anchors {
  readonly fingerprints: ReadonlySet<string>
  /** Certificates to build paths with: anchors themselves, and intermediates. */
  readonly pool: CertificatesBySubject
}

/** Certificates by their comparableSubject. */
export type CertificatesBySubject = ReadonlyMap<string, readonly Certificate[]>

export function bySubject(certificates: readonly Certificate[]): CertificatesBySubject {
  return groupedBy(certificates, ({ comparableSubject }) => comparableSubject)
}

/** One rule that every path must keep, leaf first and anchor last. */
interface PathRule {
  readonly code: VerifyCode
  readonly check: (path: readonly Certificate[], nowMs: number, revocation: Revocation) => void
}

/** In this order. The cheap and bounding ones come before a signature is computed. */
const RULES: readonly PathRule[] = [
  { code: 'VERIFY_CERTIFICATE_ALGORITHM', check: (path) => forLinks(path, requireStrongSignature) },
  { code: 'VERIFY_CERTIFICATE_SIGNATURE', check: (path) => forLinks(path, requireIssuerSignature) },
  { code: 'VERIFY_CERTIFICATE_TIME', check: requireValidity },
  { code: 'VERIFY_CERTIFICATE_CA', check: requireAuthorities },
  { code: 'VERIFY_CERTIFICATE_PATH_LENGTH', check: requirePathLengths },
  { code: 'VERIFY_CERTIFICATE_KEY_USAGE', check: requireCertSign },
  { code: 'VERIFY_CERTIFICATE_EXTENSION', check: requireKnownExtensions },
  { code: 'VERIFY_CERTIFICATE_NAMES', check: requirePermittedNames },
  {
    code: 'VERIFY_CERTIFICATE_REVOKED',
    check: (path, nowMs, revocation) => requireNotRevoked(path, revocation, nowMs),
  },
]

/** Every code that validatePath refuses with, in order. */
export const PATH_CODES: readonly VerifyCode[] = [
  'VERIFY_CERTIFICATE',
  'VERIFY_CERTIFICATE_ISSUER',
  ...RULES.map(({ code }) => code),
  'VERIFY_CERTIFICATE_CRL',
]

/**
 * Finds a path from the leaf to an anchor that keeps every rule.
 *
 * @returns the path, leaf first, anchor last
 * @throws MetabindError one of PATH_CODES: of the first path, if none is good
 * @throws RangeError if `now` is no valid date
 */
export function validatePath(
  leaf: Certificate,
  presented: readonly Certificate[],
  anchors: Anchors,
  now: Date,
  revocation: Revocation = NO_CRLS,
): readonly Certificate[] {
  const nowMs = timeMsOf(now)
  let failure: unknown
  let tried = 0
  const search = { anchors, presented: bySubject(presented), stepsLeft: STEPS_MAX }
  for (const path of namedPaths([], leaf, search)) {
    try {
      for (const rule of RULES) rule.check(path, nowMs, revocation)
      return path
    } catch (error) {
      failure ??= error
    }
    tried += 1
    if (tried === PATHS_MAX) break
  }
  throw failure ?? new MetabindError('VERIFY_CERTIFICATE_ISSUER')
}

interface Search {
  readonly anchors: Anchors
  readonly presented: CertificatesBySubject
  stepsLeft: number
}

/** Paths that end at an anchor, by names and key identifiers alone: nothing is verified in them yet. */
function* namedPaths(
  below: readonly Certificate[],
  last: Certificate,
  search: Search,
): Generator<readonly Certificate[]> {
  const path = [...below, last]
  if (search.anchors.fingerprints.has(last.fingerprint)) {
    yield path
    // What does not hold up to here does not hold with more above it.
    return
  }
  if (path.length === PATH_MAX) return
  const used = new Set(path.map(({ fingerprint }) => fingerprint))
  for (const issuer of namedIssuers(last, search)) {
    if (search.stepsLeft === 0) return
    search.stepsLeft -= 1
    if (used.has(issuer.fingerprint) || !isOfKey(issuer, last.authorityKeyId)) continue
    used.add(issuer.fingerprint)
    yield* namedPaths(path, issuer, search)
  }
}

function namedIssuers({ comparableIssuer }: Certificate, { anchors, presented }: Search) {
  return [...(anchors.pool.get(comparableIssuer) ?? []), ...(presented.get(comparableIssuer) ?? [])]
}

/** Whether nothing says that the issuer has another key than the one that is named. */
export function isOfKey({ subjectKeyId }: Certificate, keyId: Buffer | undefined): boolean {
  return keyId === undefined || subjectKeyId === undefined || keyId.equals(subjectKeyId)
}

function forLinks(
  path: readonly Certificate[],
  check: (certificate: Certificate, issuer: Certificate) => void,
): void {
  for (const [certificate, issuer] of linksOf(path)) check(certificate, issuer)
}

/** RFC 5280 6.1.3 (a)(2). The anchor's own validity counts too. */
function requireValidity(path: readonly Certificate[], nowMs: number): void {
  for (const { notBefore, notAfter } of path) {
    if (nowMs < notBefore.getTime())
      refuse('VERIFY_CERTIFICATE_TIME', `Not before ${isoOf(notBefore)}.`)
    if (nowMs > notAfter.getTime())
      refuse('VERIFY_CERTIFICATE_TIME', `Not after ${isoOf(notAfter)}.`)
  }
}

/** RFC 5280 6.1.4 (k): without this, any EK certificate could issue another. */
function requireAuthorities(path: readonly Certificate[]): void {
  for (const issuer of path.slice(1)) {
    if (basicConstraints(issuer)?.ca !== true) refuse('VERIFY_CERTIFICATE_CA')
  }
}

/** RFC 5280 6.1.4 (l) and (m); self-issued certificates between do not count. */
function requirePathLengths(path: readonly Certificate[]): void {
  let between = 0
  for (const issuer of path.slice(1)) {
    const allowed = basicConstraints(issuer)?.pathLength ?? Number.POSITIVE_INFINITY
    if (between > allowed) {
      refuse('VERIFY_CERTIFICATE_PATH_LENGTH', `${between} below, ${allowed} allowed.`)
    }
    if (issuer.comparableSubject !== issuer.comparableIssuer) between += 1
  }
}

/** RFC 5280 6.1.4 (n). */
function requireCertSign(path: readonly Certificate[]): void {
  for (const issuer of path.slice(1)) {
    if (hasKeyUsage(issuer, KEY_USAGE.keyCertSign) === false) {
      refuse('VERIFY_CERTIFICATE_KEY_USAGE')
    }
  }
}

/** Critical extensions that mean something here, or whose meaning changes nothing here. */
const KNOWN: ReadonlySet<string> = new Set([
  EXTENSION.basicConstraints,
  EXTENSION.keyUsage,
  EXTENSION.extKeyUsage,
  EXTENSION.subjectAltName,
  EXTENSION.nameConstraints,
  EXTENSION.certificatePolicies,
])

/** RFC 5280 6.1.4 (o), 6.1.5 (f). */
function requireKnownExtensions(path: readonly Certificate[]): void {
  for (const { extensions } of path) {
    for (const [oid, { critical }] of extensions) {
      if (critical && !KNOWN.has(oid)) refuse('VERIFY_CERTIFICATE_EXTENSION', `Found: ${oid}.`)
    }
  }
}

function refuse(code: VerifyCode, detail?: string): never {
  throw new MetabindError(code, detail)
}

function isoOf(date: Date): string {
  return date.toISOString()
}
