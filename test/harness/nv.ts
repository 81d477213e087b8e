import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Swtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { tpm2 } from '../../native/tpm2-js/test/tools.ts'

/** Where a P-256 EK's certificate, nonce and template stand (EK credential profile 2.5, 2.2.1.4). */
export const EK_CERTIFICATE_NV = 0x01c0000a
export const EK_NONCE_NV = 0x01c0000b
export const EK_TEMPLATE_NV = 0x01c0000c
export const EK_CHAIN_NV = 0x01c00100

// As manufacturers define them; TPM2_NV_Write takes no more at once.
const ATTRIBUTES = 'ppwrite|ppread|ownerread|authread|no_da|platformcreate'
const WRITE_BYTES_MAX = 1024

/** Defines an NV index, in place of one that was there, and does not write it. */
export async function defineNv(
  swtpm: Swtpm,
  index: number,
  bytes: number,
  attributes: string = ATTRIBUTES,
  password = '',
): Promise<void> {
  const at = `0x${index.toString(16)}`
  await tpm2(swtpm, 'nvundefine', '-C', 'p', at).catch(() => undefined)
  const asked = ['-C', 'p', '-s', String(bytes), '-a', attributes]
  await tpm2(swtpm, 'nvdefine', ...asked, ...(password === '' ? [] : ['-p', password]), at)
}

/** Writes an NV index as the platform, in place of what it held. */
export async function writeNv(swtpm: Swtpm, index: number, bytes: Uint8Array): Promise<void> {
  await defineNv(swtpm, index, bytes.length)
  await fillNv(swtpm, index, bytes)
}

/** Writes a defined NV index as the platform. */
export async function fillNv(swtpm: Swtpm, index: number, bytes: Uint8Array): Promise<void> {
  const at = `0x${index.toString(16)}`
  for (let offset = 0; offset < bytes.length; offset += WRITE_BYTES_MAX) {
    const file = join(swtpm.dir, 'nv-part')
    await writeFile(file, bytes.subarray(offset, offset + WRITE_BYTES_MAX))
    await tpm2(swtpm, 'nvwrite', '-C', 'p', '--offset', String(offset), '-i', file, at)
  }
}
