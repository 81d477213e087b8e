import { createPublicKey, type KeyObject } from 'node:crypto'
import { type Certificate, certificatesIn } from '../certificates/certificate.ts'
import { type Anchors, bySubject } from '../certificates/chain.ts'
import { type Crl, crlsIn } from '../certificates/crl.ts'
import { KnownCertificates } from '../certificates/known-certificates.ts'
import { byIssuer, type Crls } from '../certificates/revocation.ts'
import { MetabindError } from '../errors.ts'
import { ALIYUN_IDENTITY_CERTIFICATE } from './aliyun.ts'

/** Whom the verifier believes. Each file is PEM (several certificates, any text around) or DER. */
export interface Trust {
  /** Files of certificates that EK certificates must lead to. */
  readonly ekAnchors?: readonly Uint8Array[]
  /** The same by SHA-256 of the DER in hex, for anchors that come within the evidence. */
  readonly ekAnchorFingerprints?: readonly string[]
  /** Files of certificates between, that the TPM does not have. They are not trusted. */
  readonly intermediates?: readonly Uint8Array[]
  /** Endorsement keys known by themselves: SHA-256 of SubjectPublicKeyInfo in hex. */
  readonly ekPins?: readonly string[]
  /** Files of certificates that AK certificates must lead to, for clouds that make such. */
  readonly akAnchors?: readonly Uint8Array[]
  /** Files of certificate revocation lists, each PEM (several lists) or DER, of at most 16 MiB. */
  readonly crls?: readonly Uint8Array[]
  /** The certificate whose key signs identity documents; Alibaba Cloud's, when left out. */
  readonly identityCertificate?: Uint8Array
}

/** Trust, parsed: for who verifies more than once. */
export interface ParsedTrust {
  readonly isParsed: true
  readonly ek: Anchors
  readonly ak: Anchors
  readonly ekPins: ReadonlySet<string>
  readonly crls: Crls
  readonly known: KnownCertificates
  readonly identityCertificate: Certificate
  readonly identityKey: KeyObject
}

const FINGERPRINT = /^[0-9a-f]{64}$/

/**
 * Parses certificates, revocation lists and digests, once for many calls; what is parsed comes back as it is.
 *
 * @throws MetabindError VERIFY_ANCHOR, VERIFY_CRL_FILE
 */
export function parseTrust(trust: Trust | ParsedTrust): ParsedTrust {
  if ('isParsed' in trust) return trust
  const between = certificates(trust.intermediates)
  const fingerprints = hexDigests(trust.ekAnchorFingerprints)
  const [identityCertificate] = certificates([
    trust.identityCertificate ?? Buffer.from(ALIYUN_IDENTITY_CERTIFICATE),
  ])
  if (identityCertificate === undefined) throw new MetabindError('VERIFY_ANCHOR')
  return {
    isParsed: true,
    ek: anchorsOf(certificates(trust.ekAnchors), between, fingerprints),
    ak: anchorsOf(certificates(trust.akAnchors), between, []),
    ekPins: new Set(hexDigests(trust.ekPins)),
    crls: byIssuer(lists(trust.crls)),
    known: new KnownCertificates(),
    identityCertificate,
    identityKey: keyOf(identityCertificate),
  }
}

function keyOf({ publicKey }: Certificate): KeyObject {
  try {
    return createPublicKey({ key: publicKey, format: 'der', type: 'spki' })
  } catch (error) {
    throw new MetabindError('VERIFY_ANCHOR', 'Its public key is unusable.', error)
  }
}

function anchorsOf(
  anchors: readonly Certificate[],
  between: readonly Certificate[],
  fingerprints: readonly string[],
): Anchors {
  const own = anchors.map(({ fingerprint }) => fingerprint)
  return {
    fingerprints: new Set([...own, ...fingerprints]),
    pool: bySubject([...anchors, ...between]),
  }
}

/** A file without a certificate is a mistake: trusting nothing from it would be noticed too late. */
function certificates(files: readonly Uint8Array[] = []): Certificate[] {
  return files.flatMap((file) => {
    try {
      const found = certificatesIn(file)
      if (found.length > 0) return found
    } catch (error) {
      throw new MetabindError('VERIFY_ANCHOR', 'A file is not what it should be.', error)
    }
    throw new MetabindError('VERIFY_ANCHOR', 'A file holds no certificate.')
  })
}

function lists(files: readonly Uint8Array[] = []): Crl[] {
  return files.flatMap((file) => {
    const found = crlsIn(file)
    if (found.length > 0) return found
    throw new MetabindError('VERIFY_CRL_FILE', 'A file holds no list.')
  })
}

function hexDigests(digests: readonly string[] = []): string[] {
  return digests.map((digest) => {
    const plain = digest.replaceAll(':', '').toLowerCase()
    if (!FINGERPRINT.test(plain)) throw new MetabindError('VERIFY_ANCHOR', 'No SHA-256 in hex.')
    return plain
  })
}
