import { createHash } from 'node:crypto'
import { closeSync, constants, openSync, write } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { readPrivateFile, writePrivateFile } from '../storage/private-file.ts'
import type { ChainHead } from './chain.ts'

/**
 * The end of the audit chain, kept in the state directory: the file itself may have been renamed when the
 * agent ended, and the next one goes on from there. Nothing in it is secret.
 */
export interface ChainHeadFile {
  /** What an earlier process kept of the same audit file. */
  readonly head: ChainHead | undefined
  /** Resolves also if it could not be written; that is reported. */
  write(head: ChainHead): Promise<void>
  close(): void
}

const NAME = 'audit-head'
/** Written in place, so always the same number of bytes. */
const FILE_BYTES = 256
const schema = z.strictObject({
  version: z.literal(1),
  /** SHA-256 of the audit file's path. */
  file: z.string(),
  seq: z.int().min(1),
  hash: z.string().regex(/^[0-9a-f]{64}$/),
})
const writeTo = promisify(write)

/**
 * @param directory the state directory
 * @param auditFile path of the file that the chain is in
 * @param onFault told once of each time that it cannot be kept, or what is there not be used
 * @throws MetabindError DIRECTORY_UNSAFE, DIRECTORY_FAULT
 */
export function openChainHeadFile(
  directory: string,
  auditFile: string,
  onFault: (error: MetabindError) => void,
): ChainHeadFile {
  const path = join(directory, NAME)
  const file = createHash('sha256').update(auditFile).digest('hex')
  const found = readPrivateFile(path, FILE_BYTES)
  const kept = found === undefined ? undefined : parse(found)
  if (found !== undefined && kept === undefined) onFault(new MetabindError('KEPT_UNUSABLE', path))
  let descriptor: number | undefined
  let failing = false
  const overwrite = async (bytes: Buffer): Promise<void> => {
    if (descriptor !== undefined) return writeAt(descriptor, bytes)
    writePrivateFile(path, bytes)
    descriptor = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW)
  }
  return {
    head: kept?.file === file ? { seq: kept.seq, hash: kept.hash } : undefined,
    write: async ({ seq, hash }) => {
      try {
        await overwrite(Buffer.from(encode({ version: 1, file, seq, hash })))
        failing = false
      } catch (error) {
        if (!failing) onFault(new MetabindError('DIRECTORY_FAULT', path, error))
        failing = true
      }
    },
    close: () => {
      if (descriptor !== undefined) closeSync(descriptor)
    },
  }
}

async function writeAt(descriptor: number, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    at += (await writeTo(descriptor, bytes, at, bytes.length - at, at)).bytesWritten
  }
}

function encode(value: z.infer<typeof schema>): string {
  return `${JSON.stringify(value).padEnd(FILE_BYTES - 1)}\n`
}

function parse(bytes: Buffer): z.infer<typeof schema> | undefined {
  try {
    return schema.parse(JSON.parse(bytes.toString('utf8')))
  } catch {
    return undefined
  }
}
