import { certificatesIn } from '../certificates/certificate.ts'
import type { Config } from '../config.ts'
import { certificateFilesIn, readCertificateFile } from '../storage/certificate-files.ts'
import { type ParsedTrust, parseTrust } from '../verify/trust.ts'
import { TRUST_SETS } from '../verify/trust-sets.ts'

const requireAnchor = (file: Buffer) => parseTrust({ ekAnchors: [file] })
const requireIdentity = (file: Buffer) => parseTrust({ identityCertificate: file })

/**
 * Reads the trust anchors that the configuration names. Those that Alibaba Cloud publishes are
 * known without being told, on instances of that cloud.
 *
 * @throws MetabindError FILE_UNUSABLE, VERIFY_ANCHOR if a file is no certificate
 */
export function readTrust({ tpm, source }: Config): ParsedTrust {
  return parseTrust({
    ...(source.dialect === 'aliyun' ? TRUST_SETS.aliyun : {}),
    ekAnchors: certificateFilesIn(tpm.ek_anchors, requireAnchor),
    akAnchors: certificateFilesIn(tpm.ak_anchors, requireAnchor),
    ekPins: tpm.ek_pins,
    ...(source.identity_certificate === undefined
      ? {}
      : { identityCertificate: readCertificateFile(source.identity_certificate, requireIdentity) }),
  })
}

/** The certificates of the attestation key, DER, leaf first. @throws MetabindError FILE_UNUSABLE */
export function readAkCertificates(tpm: Config['tpm']): Buffer[] {
  if (tpm.ak_certificate === undefined) return []
  return certificatesIn(readCertificateFile(tpm.ak_certificate, certificatesIn)).map(
    ({ der }) => der,
  )
}
