import { z } from 'zod'
import { parseCertificate } from '../certificates/certificate.ts'
import { tpmAttributes } from '../certificates/key-certificate.ts'
import { MetabindError } from '../errors.ts'
import { enrolmentBind } from '../format/enrolment-bind.ts'
import type { Evidence } from '../format/evidence.ts'
import { jwkOf, keyObjectOf, spkiDigest } from '../format/tpm-key.ts'
import { nameOf } from '../format/tpm-name.ts'
import { parsePublic } from '../format/tpm-public.ts'
import { enrolledInstanceSchema } from '../registrar-repository/enrolled-instance.ts'
import { challengeOf, provenOnceAnswered, unanswered } from '../verify/challenge.ts'
import type { Subject } from '../verify/subject.ts'
import type { ParsedTrust } from '../verify/trust.ts'
import type { Verified } from '../verify/verified.ts'
import { verifiedSubject } from '../verify/verify.ts'
import type { RegistrarConfig } from './registrar-config.ts'

/** Whom the registrar admits. */
export interface AdmissionRules {
  readonly trust: ParsedTrust
  readonly anchored: RegistrarConfig['admission']['anchored']
  readonly unanchored: RegistrarConfig['admission']['unanchored']
  readonly instanceId: RegistrarConfig['admission']['instance_id']
  readonly pcrPolicy: Uint8Array | undefined
}

/** What evidence is verified for: all but whom to trust, which the rules say. */
export interface EnrolmentDemands {
  readonly nonce: Uint8Array
  /** The registrar's own name. */
  readonly url: string
  /** That the instance shows. */
  readonly generation: number
  /** Of the connection that the evidence came on, if TLS ends in the registrar. */
  readonly exporter: Buffer | undefined
  readonly now: Date
}

/**
 * What evidence proves, all but that its AK is in the TPM with its EK: the answer to the challenge does. Members are
 * those of the row that an instance becomes.
 */
export const admittedSchema = enrolledInstanceSchema
  .pick({
    iid: true,
    dialect: true,
    instanceId: true,
    ekName: true,
    akName: true,
    ekSpkiSha256: true,
    sk: true,
    anchor: true,
    proven: true,
    record: true,
  })
  .extend({
    /** False if the TPM's clock may have gone back by a loss of power. */
    isClockSafe: z.boolean(),
  })
export type Admitted = Readonly<z.output<typeof admittedSchema>>

/** The attestation key of the evidence, as it can be certified. */
export const vouchedAkSchema = z.strictObject({
  /** SubjectPublicKeyInfo as DER, in base64. */
  spki: z.base64(),
  /** OIDs and texts by which an EK certificate that leads to an anchor names the TPM; absent if there is none. */
  tpm: z.array(z.tuple([z.string(), z.string()])).optional(),
})
export type VouchedAk = Readonly<z.output<typeof vouchedAkSchema>>

/**
 * Verifies evidence, and makes a challenge for the keys in it.
 *
 * @param digest SHA-256 of what the evidence came in
 * @returns the challenge, and what is proven as soon as it is answered. Until then nothing is: software could have made
 *   all of it beside a copied EK certificate
 * @throws VerifyError what refused the evidence; MetabindError ENROL_UNNAMED
 */
export function admitIfAnswered(
  evidence: Evidence,
  digest: Buffer,
  demands: EnrolmentDemands,
  rules: AdmissionRules,
): ReturnType<typeof challengeOf> & {
  readonly admitted: Admitted
  readonly ak: VouchedAk
} {
  const { subject, isAnchored } = withTrust(evidence, demands, rules)
  const verified = provenOnceAnswered(subject)
  const isNamed = (['instance-from-cloud', 'instance-from-ek'] as const).some((claim) =>
    verified.proven.includes(claim),
  )
  if (rules.instanceId === 'proven' && !isNamed) throw new MetabindError('ENROL_UNNAMED')
  const admitted = admittedBy(verified, isAnchored)
  return { ...challengeOf(subject, digest), admitted, ak: akOf(evidence, verified) }
}

function akOf({ ak, ek }: Evidence, { anchor }: Verified): VouchedAk {
  const spki = keyObjectOf(parsePublic(ak.public)).export({ type: 'spki', format: 'der' })
  const [leaf] = ek.certificates
  // Of a pinned EK nobody has looked at the certificate: it may say anything.
  const isGenuine = anchor.kind === 'ek-certificate' && leaf !== undefined
  const tpm = isGenuine ? tpmAttributes(parseCertificate(leaf)) : undefined
  return { spki: spki.toString('base64'), tpm: tpm?.map(([oid, text]) => [oid, text]) }
}

/**
 * Verifies by the trust; or, if nothing in it vouches for the TPM and the rules let such be, with its own EK as a pin.
 * Every other check is run the same.
 */
function withTrust(
  evidence: Evidence,
  { nonce, url, generation, exporter, now }: EnrolmentDemands,
  { trust, pcrPolicy, unanchored }: AdmissionRules,
): { readonly subject: Subject; readonly isAnchored: boolean } {
  const { ek, certifications } = evidence
  const key = jwkOf(parsePublic(certifications.SK.public))
  const bind = enrolmentBind({ url, key, ekName: nameOf(ek.public), generation, exporter })
  const options = unanswered({ nonce, bind, now, trust, pcrPolicy })
  try {
    return { subject: verifiedSubject(evidence, options), isAnchored: true }
  } catch (error) {
    // A certificate that is there and does not hold has another code: that is never let be.
    const isUnknown = error instanceof MetabindError && error.code === 'VERIFY_UNANCHORED'
    if (!isUnknown || unanchored === 'refuse') throw error
    const ekPins = new Set([...trust.ekPins, spkiDigest(parsePublic(ek.public))])
    const pinned = { ...options, trust: { ...trust, ekPins } }
    return { subject: verifiedSubject(evidence, pinned), isAnchored: false }
  }
}

function admittedBy(verified: Verified, isAnchored: boolean): Admitted {
  const { iid, dialect, instanceId, ek, ak, sk, record, clockSafe } = verified
  if (sk.jwk.kty !== 'EC') throw new RangeError('SK is a key of P-256')
  return {
    ...{ iid, dialect, instanceId, record },
    ekName: ek.name,
    akName: ak.name,
    ekSpkiSha256: ek.spkiSha256,
    sk: sk.jwk,
    anchor: isAnchored ? verified.anchor.kind : 'none',
    proven: [...verified.proven],
    isClockSafe: clockSafe,
  }
}
