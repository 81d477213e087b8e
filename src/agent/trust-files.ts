import { readdirSync } from 'node:fs'
import { extname, join } from 'node:path'
import type { Config } from '../config.ts'
import { MetabindError } from '../errors.ts'
import { readFileAtMost } from '../storage/read-at-most.ts'
import { ALIYUN_EK_ANCHORS, ALIYUN_EKMF_CERTIFICATE } from '../verify/aliyun.ts'
import { certificatesIn } from '../verify/certificate.ts'
import { type ParsedTrust, parseTrust } from '../verify/trust.ts'

const EXTENSIONS = ['.pem', '.crt', '.cer', '.der']
const FILES_MAX = 256
/** All certificates that a browser trusts are a quarter of it, in PEM. */
const FILE_BYTES_MAX = 1024 * 1024

/**
 * Reads the trust anchors that the configuration names. Those that Alibaba Cloud publishes are
 * known without being told, on instances of that cloud.
 *
 * @throws MetabindError FILE_UNUSABLE, VERIFY_ANCHOR if a file is no certificate
 */
export function readTrust({ tpm, source }: Config): ParsedTrust {
  const isAliyun = source.dialect === 'aliyun'
  return parseTrust({
    ekAnchors: filesIn(tpm.ek_anchors),
    akAnchors: filesIn(tpm.ak_anchors),
    ekAnchorFingerprints: isAliyun ? ALIYUN_EK_ANCHORS : [],
    intermediates: isAliyun ? [Buffer.from(ALIYUN_EKMF_CERTIFICATE)] : [],
    ekPins: tpm.ek_pins,
    ...(source.identity_certificate === undefined
      ? {}
      : { identityCertificate: read(source.identity_certificate) }),
  })
}

/** The certificates of the attestation key, DER, leaf first. @throws MetabindError FILE_UNUSABLE */
export function readAkCertificates(tpm: Config['tpm']): Buffer[] {
  if (tpm.ak_certificate === undefined) return []
  return certificatesIn(read(tpm.ak_certificate)).map(({ der }) => der)
}

function filesIn(directory: string | undefined): Buffer[] {
  if (directory === undefined) return []
  const entries = orUnusable(directory, () => readdirSync(directory))
  const names = entries.filter((name) => EXTENSIONS.includes(extname(name)))
  if (names.length === 0 || names.length > FILES_MAX) {
    throw new MetabindError('FILE_UNUSABLE', `${directory} holds ${names.length} certificates.`)
  }
  return names.sort().map((name) => read(join(directory, name)))
}

function read(file: string): Buffer {
  const bytes = orUnusable(file, () => readFileAtMost(file, FILE_BYTES_MAX + 1))
  if (bytes.length <= FILE_BYTES_MAX) return bytes
  throw new MetabindError('FILE_UNUSABLE', `${file} is longer than ${FILE_BYTES_MAX} bytes.`)
}

function orUnusable<T>(path: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw new MetabindError('FILE_UNUSABLE', path, error)
  }
}
