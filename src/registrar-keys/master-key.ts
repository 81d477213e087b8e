import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { MetabindError } from '../errors.ts'
import { Secret } from '../secret.ts'
import { createPrivateFile } from '../storage/private-file.ts'
import { readGuardedFile } from './guarded-file.ts'

const KEY_BYTES = 32
const IV_BYTES = 12
const TAG_BYTES = 16
const CIPHER = 'aes-256-gcm'

/** What replicas share beside the database: a copy of the database alone has no secret in it. */
export interface MasterKey {
  /** A key for one use. */
  derive(use: string): Secret<Buffer>
  /** Encrypts and authenticates. @param use of the sealed bytes: they open for no other */
  seal(use: string, bytes: Uint8Array): Buffer
  /** @throws MetabindError REGISTRAR_DATABASE if they were sealed under another key, or altered */
  open(use: string, sealed: Uint8Array): Buffer
}

/**
 * Reads the key at a path, or makes one there.
 *
 * @throws MetabindError DIRECTORY_UNSAFE, DIRECTORY_FAULT; REGISTRAR_DATABASE if it is not of 32 bytes
 */
export function openMasterKey(path: string): MasterKey {
  // One that systemd gives is there already, where nothing can be written.
  if (!existsSync(path)) createPrivateFile(path, randomBytes(KEY_BYTES))
  const bytes = keyIn(path)
  if (bytes.length !== KEY_BYTES) {
    throw new MetabindError('REGISTRAR_DATABASE', `${path}: it is no key of ${KEY_BYTES} bytes.`)
  }
  return masterKey(new Secret(bytes))
}

/** One byte more than it has shows one that is too long. */
function keyIn(path: string): Buffer {
  try {
    return readGuardedFile(path, KEY_BYTES + 1)
  } catch (error) {
    throw new MetabindError('DIRECTORY_UNSAFE', path, error)
  }
}

export function masterKey(key: Secret<Buffer>): MasterKey {
  const derive = (use: string) =>
    Buffer.from(hkdfSync('sha256', key.reveal(), '', `metabind registrar ${use} v1`, KEY_BYTES))
  return {
    derive: (use) => new Secret(derive(use)),
    seal: (use, bytes) => {
      const iv = randomBytes(IV_BYTES)
      const cipher = createCipheriv(CIPHER, derive(`seal ${use}`), iv)
      const sealed = Buffer.concat([cipher.update(bytes), cipher.final()])
      return Buffer.concat([iv, cipher.getAuthTag(), sealed])
    },
    open: (use, sealed) => {
      try {
        const bytes = Buffer.from(sealed)
        const options = { authTagLength: TAG_BYTES }
        const iv = bytes.subarray(0, IV_BYTES)
        const decipher = createDecipheriv(CIPHER, derive(`seal ${use}`), iv, options)
        decipher.setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES))
        const opened = decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES))
        return Buffer.concat([opened, decipher.final()])
      } catch (error) {
        throw new MetabindError('REGISTRAR_DATABASE', 'It was sealed under another key.', error)
      }
    },
  }
}
