import { hexOf, type TpmHash, tpmHash } from './algorithms.ts'
import type { ByteReader } from './byte-reader.ts'

/** A TPM has no more banks than it has hashes; four are known here. */
const BANKS_MAX = 16
/** Bitmap bytes: 24 PCRs of the PC Client profile need 3; PCR 31 is the last there can be. */
const SELECT_BYTES_MIN = 3
const SELECT_BYTES_MAX = 4
export const PCR_MAX = 31

/** One bank of a selection (TPMS_PCR_SELECTION), its PCRs in ascending order. */
export interface TpmPcrSelection {
  readonly hash: TpmHash['name']
  readonly pcrs: readonly number[]
}

/**
 * Reads a TPML_PCR_SELECTION (TPM 2.0 Part 2, 10.9.7 and 10.6.2). The order of banks is kept: it is
 * the order in which the TPM hashed the values.
 */
export function parseSelection(reader: ByteReader): TpmPcrSelection[] {
  const count = reader.u32()
  if (count > BANKS_MAX) reader.refuse(`${count} PCR banks`)
  const banks: TpmPcrSelection[] = []
  for (let at = 0; at < count; at += 1) banks.push(parseBank(reader))
  return banks
}

function parseBank(reader: ByteReader): TpmPcrSelection {
  const algorithm = reader.u16()
  const hash = tpmHash(algorithm)
  if (hash === undefined) reader.refuse(`PCR bank ${hexOf(algorithm)}`)
  const size = reader.u8()
  if (size < SELECT_BYTES_MIN || size > SELECT_BYTES_MAX) reader.refuse(`a PCR bitmap of ${size}`)
  return { hash: hash.name, pcrs: pcrsOf(reader.take(size)) }
}

/** PCR n is bit n mod 8 of byte n div 8. */
function pcrsOf(bitmap: Buffer): number[] {
  const pcrs: number[] = []
  for (let pcr = 0; pcr < bitmap.length * 8; pcr += 1) {
    if ((bitmap.readUInt8(pcr >> 3) & (1 << (pcr & 7))) !== 0) pcrs.push(pcr)
  }
  return pcrs
}
