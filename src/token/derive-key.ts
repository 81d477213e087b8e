import { hkdfSync } from 'node:crypto'
import type { RootValues } from '../identity/tpm.ts'
import type { Secret } from '../secret.ts'

const KEY_BYTES = 32

/** Where the root values come from: TPM2_HMAC under RK and BK, in the order of the messages. */
export type DeriveRoots = (messages: readonly Buffer[]) => Promise<RootValues[]>

/**
 * HKDF with SHA-256 (RFC 5869) over both root values, which are wiped.
 *
 * @param salt see loadSalt
 * @param label keeps keys of one use apart from those of another
 * @returns 32 bytes
 */
export function deriveKey(roots: RootValues, salt: Secret<Buffer>, label: string): Buffer {
  const material = Buffer.concat([roots.fromRoot, roots.fromBoot])
  const key = Buffer.from(hkdfSync('sha256', material, salt.reveal(), label, KEY_BYTES))
  for (const used of [material, roots.fromRoot, roots.fromBoot]) used.fill(0)
  return key
}
