import type { PcrSelection, TpmCommands } from 'tpm2-js'
import { hashAlgorithm } from '../format/algorithms.ts'

/** TPM_CAP_PCRS (TPM 2.0 Part 2, 6.12): which PCRs each bank has. */
const TPM_CAP_PCRS = 5
const BANKS_MAX = 16

/** What there is of a selection: a bank need not have all PCRs, and asking for one that it lacks is an error. */
export async function allocatedOf(
  commands: Pick<TpmCommands, 'getCapability'>,
  { hash, pcrs }: PcrSelection,
): Promise<PcrSelection> {
  const { data } = await commands.getCapability(TPM_CAP_PCRS, 0, BANKS_MAX)
  const bitmap = bitmapOf(Buffer.from(data), hashAlgorithm(hash))
  const isThere = (pcr: number) => ((bitmap[pcr >> 3] ?? 0) & (1 << (pcr & 7))) !== 0
  const there = pcrs.filter(isThere)
  // Without any the TPM itself says what is wrong.
  return { hash, pcrs: there.length === 0 ? pcrs : there }
}

/** TPMS_CAPABILITY_DATA: u32 capability, then a count and for each bank u16 hash, u8 size and as many bytes. */
function bitmapOf(data: Buffer, algorithm: number): Uint8Array {
  const count = data.readUInt32BE(4)
  for (let at = 8, bank = 0; bank < count; bank += 1) {
    const size = data.readUInt8(at + 2)
    if (data.readUInt16BE(at) === algorithm) return data.subarray(at + 3, at + 3 + size)
    at += 3 + size
  }
  return new Uint8Array()
}
