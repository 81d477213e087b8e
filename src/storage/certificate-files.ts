import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { MetabindError, pathWithReason } from '../errors.ts'
import { readRegularFileAtMost } from './read-at-most.ts'

/** How a file of a certificate is called, PEM or DER. */
export const CERTIFICATE_FILE = /\.(?:pem|crt|cer|der)$/i
const FILES_MAX = 256
/** All certificates that a browser trusts are a quarter of it, in PEM. */
const FILE_BYTES_MAX = 1024 * 1024

/** Throws a MetabindError if it is no certificate of the kind that is wanted. */
type CertificateCheck = (bytes: Buffer) => unknown

/**
 * The files of certificates in a directory, in the order of their names.
 *
 * @param directory undefined: none is configured
 * @param check of each: what it throws comes with the name of the file, which is one of hundreds
 * @throws MetabindError FILE_UNUSABLE also if there is none in it: trusting nothing would be noticed too late
 */
export function certificateFilesIn(
  directory: string | undefined,
  check: CertificateCheck,
): Buffer[] {
  if (directory === undefined) return []
  const entries = orUnusable(directory, () => readdirSync(directory))
  const names = entries.filter((name) => CERTIFICATE_FILE.test(name))
  if (names.length === 0 || names.length > FILES_MAX) {
    throw new MetabindError('FILE_UNUSABLE', `${directory} holds ${names.length} certificates.`)
  }
  return names.sort().map((name) => readCertificateFile(join(directory, name), check))
}

/** @throws MetabindError FILE_UNUSABLE, and what `check` throws */
export function readCertificateFile(file: string, check: CertificateCheck): Buffer {
  const bytes = orUnusable(file, () => readRegularFileAtMost(file, FILE_BYTES_MAX + 1))
  if (bytes.length > FILE_BYTES_MAX) {
    throw new MetabindError('FILE_UNUSABLE', `${file} is longer than ${FILE_BYTES_MAX} bytes.`)
  }
  try {
    check(bytes)
    return bytes
  } catch (error) {
    if (!(error instanceof MetabindError)) throw error
    throw new MetabindError(error.code, `${file}: ${error.detail ?? error.message}`, error.cause)
  }
}

function orUnusable<T>(path: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw new MetabindError('FILE_UNUSABLE', pathWithReason(path, error))
  }
}
