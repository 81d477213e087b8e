import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { MetabindError, pathWithReason } from '../errors.ts'
import { readRegularFileAtMost } from './read-at-most.ts'

/** How a file of a certificate is called, PEM or DER. */
export const CERTIFICATE_FILE = /\.(?:pem|crt|cer|der)$/i
const FILES_MAX = 256
/** All certificates that a browser trusts are a quarter of it, in PEM. */
const FILE_BYTES_MAX = 1024 * 1024

/**
 * The files of certificates in a directory, in the order of their names.
 *
 * @param directory undefined: none is configured
 * @throws MetabindError FILE_UNUSABLE also if there is none in it: trusting nothing would be noticed too late
 */
export function certificateFilesIn(directory: string | undefined): Buffer[] {
  if (directory === undefined) return []
  const entries = orUnusable(directory, () => readdirSync(directory))
  const names = entries.filter((name) => CERTIFICATE_FILE.test(name))
  if (names.length === 0 || names.length > FILES_MAX) {
    throw new MetabindError('FILE_UNUSABLE', `${directory} holds ${names.length} certificates.`)
  }
  return names.sort().map((name) => readCertificateFile(join(directory, name)))
}

/** @throws MetabindError FILE_UNUSABLE */
export function readCertificateFile(file: string): Buffer {
  const bytes = orUnusable(file, () => readRegularFileAtMost(file, FILE_BYTES_MAX + 1))
  if (bytes.length <= FILE_BYTES_MAX) return bytes
  throw new MetabindError('FILE_UNUSABLE', `${file} is longer than ${FILE_BYTES_MAX} bytes.`)
}

function orUnusable<T>(path: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw new MetabindError('FILE_UNUSABLE', pathWithReason(path, error))
  }
}
