import type { Certificate } from '../certificates/certificate.ts'
import { type Anchors, validatePath } from '../certificates/chain.ts'
import {
  requireAkProfile,
  requireEkProfile,
  requireSameKey,
} from '../certificates/key-certificate.ts'
import { MetabindError } from '../errors.ts'
import { spkiDigest } from '../format/tpm-key.ts'
import type { TpmPublic } from '../format/tpm-public.ts'
import { remembered } from '../remembered.ts'
import type { Demands, Subject } from './subject.ts'
import type { ParsedTrust } from './trust.ts'

/** What vouches for the TPM. One of these must hold; there is no trust on first use. */
export type Anchor =
  | { readonly kind: 'ek-pin'; readonly spkiSha256: string }
  | { readonly kind: 'ek-certificate' | 'ak-certificate'; readonly path: readonly Certificate[] }

/**
 * Finds what vouches for the TPM: a pinned EK; else the EK certificate, if anchors for such are
 * given; else the AK certificate. A certificate that is there and does not hold is a refusal, never
 * a reason to try the next. Several checks and the result ask for it; parsing and signatures of certificates are most of
 * a verification.
 *
 * @throws MetabindError VERIFY_UNANCHORED, or what is wrong with the certificate
 */
export const findAnchor = remembered((subject: Subject): Anchor => {
  const { evidence, demands, ek } = subject
  const { trust } = demands
  const ekChain = parseChain(evidence.ek.certificates, trust)
  const [ekLeaf] = ekChain
  if (ekLeaf !== undefined) requireSameKey(ekLeaf, ek.public)
  const spkiSha256 = spkiDigest(ek.public)
  if (trust.ekPins.has(spkiSha256)) return { kind: 'ek-pin', spkiSha256 }
  if (ekLeaf !== undefined && trust.ek.fingerprints.size > 0) {
    return { kind: 'ek-certificate', path: validateEk(ekChain, ek.public, demands) }
  }
  const path = searchAkPath(subject)
  if (path !== undefined) return { kind: 'ak-certificate', path }
  // Who pins keys has to learn the digest somewhere, and evidence that is refused is what there is.
  throw new MetabindError('VERIFY_UNANCHORED', `The digest of its EK is ${spkiSha256}.`)
})

/**
 * Whether a certificate of the AK leads to one of `akAnchors`. That it is in the TPM of an EK which something
 * else vouches for, this does not show.
 *
 * @throws MetabindError VERIFY_AK_PUBLIC if the certificate is there and does not hold
 */
export function isAkCertified(subject: Subject): boolean {
  if (findAnchor(subject).kind === 'ak-certificate') return true
  try {
    return searchAkPath(subject) !== undefined
  } catch (error) {
    if (!(error instanceof MetabindError)) throw error
    throw new MetabindError('VERIFY_AK_PUBLIC', `Of its certificate: ${error.code}.`, error)
  }
}

function searchAkPath({ evidence, demands, ak }: Subject): readonly Certificate[] | undefined {
  const chain = parseChain(evidence.ak.certificates ?? [], demands.trust)
  const isAsked = chain.length > 0 && demands.trust.ak.fingerprints.size > 0
  return isAsked ? validateAk(chain, ak.public, demands) : undefined
}

function parseChain(certificates: readonly Buffer[], { known }: ParsedTrust): Certificate[] {
  return certificates.map((der) => known.parse(der))
}

function validateEk(
  [leaf, ...others]: readonly Certificate[],
  ek: TpmPublic,
  demands: Demands,
): readonly Certificate[] {
  if (leaf === undefined) throw new MetabindError('VERIFY_UNANCHORED')
  requireEkProfile(leaf, ek)
  return validPath(leaf, others, demands.trust.ek, demands)
}

function validateAk(
  [leaf, ...others]: readonly Certificate[],
  ak: TpmPublic,
  demands: Demands,
): readonly Certificate[] {
  if (leaf === undefined) throw new MetabindError('VERIFY_UNANCHORED')
  requireSameKey(leaf, ak)
  requireAkProfile(leaf)
  return validPath(leaf, others, demands.trust.ak, demands)
}

function validPath(
  leaf: Certificate,
  others: readonly Certificate[],
  anchors: Anchors,
  { trust: { crls, known }, now, demandCrls }: Demands,
): readonly Certificate[] {
  const path = validatePath(leaf, others, anchors, now, { crls, demandCrls })
  known.keep(path)
  return path
}
