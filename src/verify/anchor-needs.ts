import { type Certificate, certificatesIn, parseCertificate } from '../certificates/certificate.ts'
import { crlUrls, issuerUrls } from '../certificates/certificate-places.ts'
import { bySubject, type CertificatesBySubject, isOfKey, PATH_MAX } from '../certificates/chain.ts'
import { parseDer } from '../certificates/der.ts'
import { readableName } from '../certificates/distinguished-name.ts'
import { decodeEvidence } from '../format/evidence.ts'
import { type ParsedTrust, parseTrust, type Trust } from './trust.ts'
import { inCheck } from './verify-error.ts'

/** What a chain of certificates needs to lead to an anchor. Names in it are hostile text. */
export interface AnchorNeeds {
  /** Whose certificate begins the chain. */
  readonly of: 'EK' | 'AK' | 'certificate'
  /** From the first one up: found by names and key identifiers, nothing of it is verified. */
  readonly certificates: readonly NeededCertificate[]
  /** Whether the last of them is an anchor of a set. */
  readonly isAnchored: boolean
  /** What is missing if not: the issuer of the last one, or that one itself as an anchor. */
  readonly missing: 'issuer' | 'anchor' | undefined
}

interface NeededCertificate {
  /** SHA-256 of the DER, in hex. */
  readonly fingerprint: string
  readonly subject: string
  readonly issuer: string
  /** Key identifiers in hex, if they are named. */
  readonly keyId: string | undefined
  readonly issuerKeyId: string | undefined
  readonly notBefore: string
  readonly notAfter: string
  /** Where it says that its issuer's certificate, and its lists of revoked ones, are. */
  readonly issuerUrls: readonly string[]
  readonly crlUrls: readonly string[]
  /** Where the certificate itself is: names of sets, and `file` for what was given. */
  readonly foundIn: readonly string[]
  /** Names of the sets of which it is an anchor. */
  readonly anchorOf: readonly string[]
}

interface NamedTrust {
  readonly name: string
  readonly trust: ParsedTrust
}

/**
 * What certificates need to be believed, and which of several sets has it.
 *
 * @param file an evidence document, or certificates in PEM or DER, the one that is asked about first
 * @param sets by the names that are to be told
 * @returns a chain for each of EK and AK that has a certificate; one for a file of certificates
 * @throws VerifyError VERIFY_FORMAT and others for what is no evidence, VERIFY_CERTIFICATE, VERIFY_ANCHOR
 */
export function anchorNeeds(
  file: Uint8Array,
  sets: Readonly<Record<string, Trust | ParsedTrust>>,
): readonly AnchorNeeds[] {
  const named = inCheck('trust', () =>
    Object.entries(sets).map(([name, trust]) => ({ name, trust: parseTrust(trust) })),
  )
  return inCheck('certificates', () =>
    chainsIn(file).map(({ of, chain }) => needsOf(of, chain, named)),
  )
}

interface Chain {
  readonly of: AnchorNeeds['of']
  readonly chain: readonly Certificate[]
}

/** Evidence is JSON: of certificates, neither DER nor PEM begins with a brace. */
function chainsIn(file: Uint8Array): Chain[] {
  if (file[0] !== 0x7b) return chainOf('certificate', certificatesIn(file))
  const { ek, ak } = decodeEvidence(file)
  const parsed = (ders: readonly Buffer[] = []) => ders.map((der) => parseCertificate(der))
  return [...chainOf('EK', parsed(ek.certificates)), ...chainOf('AK', parsed(ak.certificates))]
}

function chainOf(of: Chain['of'], chain: readonly Certificate[]): Chain[] {
  return chain.length === 0 ? [] : [{ of, chain }]
}

function needsOf(
  of: Chain['of'],
  chain: readonly Certificate[],
  sets: readonly NamedTrust[],
): AnchorNeeds {
  const presented = bySubject(chain)
  const path: Certificate[] = []
  let next = chain[0]
  while (next !== undefined && path.length < PATH_MAX) {
    path.push(next)
    if (setsOfAnchor(next, of, sets).length > 0) break
    next = issuerOf(next, of, presented, sets, path)
  }
  const last = path.at(-1)
  const isAnchored = last !== undefined && setsOfAnchor(last, of, sets).length > 0
  const isTop = last?.comparableSubject === last?.comparableIssuer
  return {
    of,
    certificates: path.map((certificate) => described(certificate, of, presented, sets)),
    isAnchored,
    missing: isAnchored ? undefined : isTop ? 'anchor' : 'issuer',
  }
}

function anchorsOf(of: Chain['of'], { trust }: NamedTrust) {
  return of === 'AK' ? trust.ak : trust.ek
}

function setsOfAnchor({ fingerprint }: Certificate, of: Chain['of'], sets: readonly NamedTrust[]) {
  return sets
    .filter((set) => anchorsOf(of, set).fingerprints.has(fingerprint))
    .map(({ name }) => name)
}

/** By name and key identifier, as paths are built. One that stands in the path already leads nowhere. */
function issuerOf(
  { comparableIssuer, authorityKeyId }: Certificate,
  of: Chain['of'],
  presented: CertificatesBySubject,
  sets: readonly NamedTrust[],
  path: readonly Certificate[],
): Certificate | undefined {
  const used = new Set(path.map(({ fingerprint }) => fingerprint))
  const pools = [...sets.map((set) => anchorsOf(of, set).pool), presented]
  return pools
    .flatMap((pool) => pool.get(comparableIssuer) ?? [])
    .find((issuer) => isOfKey(issuer, authorityKeyId) && !used.has(issuer.fingerprint))
}

function described(
  certificate: Certificate,
  of: Chain['of'],
  presented: CertificatesBySubject,
  sets: readonly NamedTrust[],
): NeededCertificate {
  const { fingerprint, comparableSubject, subjectKeyId, authorityKeyId } = certificate
  const isIn = (pool: CertificatesBySubject) =>
    pool.get(comparableSubject)?.some((other) => other.fingerprint === fingerprint) === true
  return {
    fingerprint,
    subject: readableName(parseDer(certificate.subject)),
    issuer: readableName(parseDer(certificate.issuer)),
    keyId: subjectKeyId?.toString('hex'),
    issuerKeyId: authorityKeyId?.toString('hex'),
    notBefore: certificate.notBefore.toISOString(),
    notAfter: certificate.notAfter.toISOString(),
    issuerUrls: issuerUrls(certificate),
    crlUrls: crlUrls(certificate),
    foundIn: [
      ...(isIn(presented) ? ['file'] : []),
      ...sets.filter((set) => isIn(anchorsOf(of, set).pool)).map(({ name }) => name),
    ],
    anchorOf: setsOfAnchor(certificate, of, sets),
  }
}
