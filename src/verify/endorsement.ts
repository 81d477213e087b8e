import { MetabindError } from '../errors.ts'
import type { TpmPublic } from '../format/tpm-public.ts'
import { type Certificate, parseCertificate } from './certificate.ts'
import { type Anchors, validatePath } from './chain.ts'
import { requireAkProfile, requireEkProfile, requireSameKey } from './key-certificate.ts'
import type { Subject } from './subject.ts'
import { spkiDigest } from './tpm-key.ts'

/** What vouches for the TPM. One of these must hold; there is no trust on first use. */
export type Anchor =
  | { readonly kind: 'ek-pin'; readonly spkiSha256: string }
  | { readonly kind: 'ek-certificate' | 'ak-certificate'; readonly path: readonly Certificate[] }

/**
 * Finds what vouches for the TPM: a pinned EK; else the EK certificate, if anchors for such are
 * given; else the AK certificate. A certificate that is there and does not hold is a refusal, never
 * a reason to try the next.
 *
 * @throws MetabindError VERIFY_UNANCHORED, or what is wrong with the certificate
 */
export function findAnchor(subject: Subject): Anchor {
  const { evidence, demands, ek, ak } = subject
  const { trust, now } = demands
  const ekChain = parseChain(evidence.ek.certificates)
  const [ekLeaf] = ekChain
  if (ekLeaf !== undefined) requireSameKey(ekLeaf, ek.public)
  const spkiSha256 = spkiDigest(ek.public)
  if (trust.ekPins.has(spkiSha256)) return { kind: 'ek-pin', spkiSha256 }
  if (ekLeaf !== undefined && trust.ek.fingerprints.size > 0) {
    return { kind: 'ek-certificate', path: validateEk(ekChain, ek.public, trust.ek, now) }
  }
  const akChain = parseChain(evidence.ak.certificates ?? [])
  if (akChain.length > 0 && trust.ak.fingerprints.size > 0) {
    return { kind: 'ak-certificate', path: validateAk(akChain, ak.public, trust.ak, now) }
  }
  // Who pins keys has to learn the digest somewhere, and evidence that is refused is what there is.
  throw new MetabindError('VERIFY_UNANCHORED', `The digest of its EK is ${spkiSha256}.`)
}

function parseChain(certificates: readonly Buffer[]): Certificate[] {
  return certificates.map((der) => parseCertificate(der))
}

function validateEk(
  [leaf, ...others]: readonly Certificate[],
  ek: TpmPublic,
  anchors: Anchors,
  now: Date,
): readonly Certificate[] {
  if (leaf === undefined) throw new MetabindError('VERIFY_UNANCHORED')
  requireEkProfile(leaf, ek)
  return validatePath(leaf, others, anchors, now)
}

function validateAk(
  [leaf, ...others]: readonly Certificate[],
  ak: TpmPublic,
  anchors: Anchors,
  now: Date,
): readonly Certificate[] {
  if (leaf === undefined) throw new MetabindError('VERIFY_UNANCHORED')
  requireSameKey(leaf, ak)
  requireAkProfile(leaf)
  return validatePath(leaf, others, anchors, now)
}
