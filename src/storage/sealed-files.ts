import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { MetabindError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { readPrivateFile, writePrivateFile } from './private-file.ts'

/** What files are sealed under, and for. */
export interface SealKey {
  readonly key: Secret<Buffer>
  /** See sealContext. */
  readonly context: Buffer
}

/** What is sealed: the proof of the instance's identity, and the values of the cache. */
type SealedFileName = 'kept-proof' | 'kept-items'

/**
 * What one boot has proved and fetched, kept for the next process of the same boot, so that a restart
 * while the source is down is survived. Files in the runtime directory (tmpfs, mode 0600), sealed:
 * nothing in them can be read or made by who has the file alone.
 */
export interface SealedFiles {
  /** What was written last; undefined if there is nothing or nothing that opens. */
  read(name: SealedFileName): Buffer | undefined
  /** Whole or not at all. What cannot be written is reported, and is missing after a restart. */
  write(name: SealedFileName, bytes: Buffer): void
  /** Wipes the key. Nothing can be read or written after that. */
  clear(): void
}

/**
 * Told of a file that does not open or cannot be written; it is no reason to stop. Once for each file,
 * and again only after it could be written: the startup reads at each of its tries.
 */
export type OnUnusable = (problem: MetabindError) => void

const VERSION = 1
const NONCE_BYTES = 12
const TAG_BYTES = 16
const FILE_BYTES_MAX = 4_194_304

/** @param directory the runtime directory */
export function sealedFiles(
  directory: string,
  sealKey: SealKey,
  onUnusable: OnUnusable,
): SealedFiles {
  let key: Secret<Buffer> | undefined = sealKey.key
  const reported = new Set<SealedFileName>()
  const reporting = <T>(name: SealedFileName, step: () => T): T | undefined => {
    try {
      return step()
    } catch (error) {
      if (!(error instanceof MetabindError)) throw error
      if (!reported.has(name)) onUnusable(error)
      reported.add(name)
      return undefined
    }
  }
  return {
    read: (name) =>
      reporting(name, () => {
        const path = join(directory, name)
        const bytes = key === undefined ? undefined : readPrivateFile(path, FILE_BYTES_MAX)
        return key === undefined || bytes === undefined
          ? undefined
          : opened(bytes, key, associated(name, sealKey.context), path)
      }),
    write: (name, bytes) =>
      reporting(name, () => {
        if (key === undefined) return
        writePrivateFile(
          join(directory, name),
          sealed(bytes, key, associated(name, sealKey.context)),
        )
        reported.delete(name)
      }),
    clear: () => {
      key?.reveal().fill(0)
      key = undefined
    },
  }
}

/** version ‖ nonce ‖ AES-256-GCM ciphertext ‖ tag. A boot writes far fewer than 2³² times. */
function sealed(bytes: Buffer, key: Secret<Buffer>, data: Buffer): Buffer {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key.reveal(), nonce).setAAD(data)
  const body = Buffer.concat([cipher.update(bytes), cipher.final()])
  return Buffer.concat([Buffer.of(VERSION), nonce, body, cipher.getAuthTag()])
}

function opened(bytes: Buffer, key: Secret<Buffer>, data: Buffer, path: string): Buffer {
  if (bytes.length < 1 + NONCE_BYTES + TAG_BYTES || bytes[0] !== VERSION) {
    throw new MetabindError('KEPT_UNUSABLE', path)
  }
  const nonce = bytes.subarray(1, 1 + NONCE_BYTES)
  const options = { authTagLength: TAG_BYTES }
  const decipher = createDecipheriv('aes-256-gcm', key.reveal(), nonce, options)
    .setAAD(data)
    .setAuthTag(bytes.subarray(-TAG_BYTES))
  try {
    const body = bytes.subarray(1 + NONCE_BYTES, -TAG_BYTES)
    return Buffer.concat([decipher.update(body), decipher.final()])
  } catch (error) {
    throw new MetabindError('KEPT_UNUSABLE', path, error)
  }
}

/** One file cannot be put in the place of the other, nor one of another boot in the place of this. */
function associated(name: SealedFileName, context: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`metabind kept v1 ${name}\0`), context])
}
