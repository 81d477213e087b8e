import { createHash } from 'node:crypto'
import { type Certificate, parseCertificate } from './certificate.ts'

/** As many as the intermediates of all makers of TPMs, and the instances that are asked again and again. */
const CERTIFICATES_MAX = 256

/**
 * Certificates that once led to an anchor, parsed: makers have few intermediates, and an instance that proves
 * itself each hour has one certificate. What hangs on them, such as that an issuer signed them, is found again
 * as well. Nothing gets in that is not signed under an anchor, and the one that stands the longest goes first.
 */
export class KnownCertificates {
  readonly #byFingerprint = new Map<string, Certificate>()

  /** What is known, or the same parsed. @throws MetabindError VERIFY_CERTIFICATE */
  parse(der: Buffer): Certificate {
    const fingerprint = createHash('sha256').update(der).digest('hex')
    return this.#byFingerprint.get(fingerprint) ?? parseCertificate(der)
  }

  /** @param path that was found to hold, its anchor included */
  keep(path: readonly Certificate[]): void {
    for (const certificate of path) this.#byFingerprint.set(certificate.fingerprint, certificate)
    for (const fingerprint of this.#byFingerprint.keys()) {
      if (this.#byFingerprint.size <= CERTIFICATES_MAX) break
      this.#byFingerprint.delete(fingerprint)
    }
  }
}
