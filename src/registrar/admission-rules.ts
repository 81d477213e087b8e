import { MetabindError, pathWithReason } from '../errors.ts'
import { parsePcrPolicy } from '../measurements/pcr-policy.ts'
import { certificateFilesIn, readCertificateFile } from '../storage/certificate-files.ts'
import { readRegularFileAtMost } from '../storage/read-at-most.ts'
import { type ParsedTrust, parseTrust } from '../verify/trust.ts'
import { TRUST_SETS } from '../verify/trust-sets.ts'
import type { AdmissionRules } from './admission.ts'
import type { RegistrarConfig } from './registrar-config.ts'

const PCR_POLICY_BYTES_MAX = 65_536

/**
 * Reads the files that say whom to admit.
 *
 * @throws MetabindError FILE_UNUSABLE, VERIFY_ANCHOR if one is no certificate, VERIFY_PCR_POLICY_FILE
 */
export function admissionRules(config: RegistrarConfig): AdmissionRules {
  const { anchored, unanchored, instance_id: instanceId, pcr_policy: pcrPolicy } = config.admission
  return {
    trust: trustOf(config),
    anchored,
    unanchored,
    instanceId,
    pcrPolicy: pcrPolicy === undefined ? undefined : readPolicy(pcrPolicy),
  }
}

const requireAnchor = (file: Buffer) => parseTrust({ ekAnchors: [file] })
const requireIdentity = (file: Buffer) => parseTrust({ identityCertificate: file })

function trustOf({ trust }: RegistrarConfig): ParsedTrust {
  const identity = trust.identity_certificate
  return parseTrust({
    ...(trust.aliyun ? TRUST_SETS.aliyun : {}),
    ekAnchors: certificateFilesIn(trust.ek_anchors, requireAnchor),
    akAnchors: certificateFilesIn(trust.ak_anchors, requireAnchor),
    ekPins: trust.ek_pins,
    ...(identity === undefined
      ? {}
      : { identityCertificate: readCertificateFile(identity, requireIdentity) }),
  })
}

function readPolicy(file: string): Buffer {
  const bytes = readBytes(file)
  // With one that is none every instance would be refused: that is said now, and not at each enrolment.
  parsePcrPolicy(bytes)
  return bytes
}

function readBytes(file: string): Buffer {
  try {
    return readRegularFileAtMost(file, PCR_POLICY_BYTES_MAX)
  } catch (error) {
    throw new MetabindError('FILE_UNUSABLE', pathWithReason(file, error))
  }
}
