import { ALIYUN_EK_ANCHORS, ALIYUN_EKMF_CERTIFICATE } from './aliyun.ts'
import type { Trust } from './trust.ts'

/** Whom one can trust by a name. */
export type TrustSetName = 'aliyun'

/**
 * What metabind knows without being told: the TPMs of Alibaba Cloud's instances. Certificates of makers
 * of TPMs are not here, as nobody says that they may be passed on; docs/verify.md says where to get them.
 */
export const TRUST_SETS: Readonly<Record<TrustSetName, Trust>> = {
  aliyun: {
    ekAnchorFingerprints: ALIYUN_EK_ANCHORS,
    intermediates: [Buffer.from(ALIYUN_EKMF_CERTIFICATE)],
  },
}

/** All of what each of them trusts. Of two identity certificates the last one counts. */
export function joinTrust(...parts: readonly Trust[]): Trust {
  const identityCertificate = parts.findLast(
    (part) => part.identityCertificate !== undefined,
  )?.identityCertificate
  return {
    ekAnchors: parts.flatMap(({ ekAnchors = [] }) => ekAnchors),
    ekAnchorFingerprints: parts.flatMap(({ ekAnchorFingerprints = [] }) => ekAnchorFingerprints),
    intermediates: parts.flatMap(({ intermediates = [] }) => intermediates),
    ekPins: parts.flatMap(({ ekPins = [] }) => ekPins),
    akAnchors: parts.flatMap(({ akAnchors = [] }) => akAnchors),
    crls: parts.flatMap(({ crls = [] }) => crls),
    ...(identityCertificate === undefined ? {} : { identityCertificate }),
  }
}
