import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { MetabindError } from '../errors.ts'
import { Secret } from '../secret.ts'
import { createPrivateFile, readPrivateFile } from '../storage/private-file.ts'

const SALT_BYTES = 32

/**
 * The salt of the token keys: random, made at the first start in a boot, kept in the runtime
 * directory (tmpfs, mode 0600). Without it any local user of the TPM device could derive the keys.
 *
 * @throws MetabindError DIRECTORY_UNSAFE, DIRECTORY_FAULT
 */
export function loadSalt(runtimeDirectory: string): Secret<Buffer> {
  const path = join(runtimeDirectory, 'salt')
  if (readPrivateFile(path, SALT_BYTES) === undefined) {
    createPrivateFile(path, randomBytes(SALT_BYTES))
  }
  const salt = readPrivateFile(path, SALT_BYTES)
  if (salt?.length !== SALT_BYTES) {
    throw new MetabindError('DIRECTORY_UNSAFE', `${path}: not ${SALT_BYTES} bytes.`)
  }
  return new Secret(salt)
}
