import { integerArgument, wordArgument } from './argument.ts'
import type { PcrSelection } from './commands.ts'
import { type Struct, toStruct } from './marshal.ts'
import { TpmError } from './tpm-error.ts'

/** TPML_PCR_SELECTION (Part 2, 10.9.7): u32 count; each u16 hash, u8 size, bitmap, PCR 0 in bit 0. */

/** TPM_ALG_ID of the banks (Part 2, 6.3). */
const BANK_ALGORITHMS = { sha1: 0x0004, sha256: 0x000b, sha384: 0x000c, sha512: 0x000d } as const

/** PCRs that the PC Client profile requires: 24, hence bitmaps of three bytes. */
const PCR_LAST = 23
const BITMAP_BYTES = 3

/** @throws TpmError TPM_ARGUMENT for an empty selection, a bank named twice or a wrong PCR number. */
export function encodePcrSelection(selection: readonly PcrSelection[]): Buffer {
  const count = Buffer.alloc(4)
  count.writeUInt32BE(selection.length)
  if (
    selection.length === 0 ||
    new Set(selection.map(({ hash }) => hash)).size < selection.length
  ) {
    throw new TpmError('TPM_ARGUMENT', 'selection: expected at least one bank, and each bank once')
  }
  return Buffer.concat([count, ...selection.map(encodeBank)])
}

export function pcrSelectionStruct(selection: readonly PcrSelection[]): Struct {
  return toStruct('TPML_PCR_SELECTION', encodePcrSelection(selection), 'selection')
}

function encodeBank({ hash, pcrs }: PcrSelection): Buffer {
  const bank = Buffer.alloc(3 + BITMAP_BYTES)
  bank.writeUInt16BE(wordArgument('hash', BANK_ALGORITHMS, hash))
  bank.writeUInt8(BITMAP_BYTES, 2)
  if (pcrs.length === 0 || new Set(pcrs).size < pcrs.length) {
    throw new TpmError('TPM_ARGUMENT', `pcrs: expected at least one PCR of ${hash}, and each once`)
  }
  for (const pcr of pcrs) {
    integerArgument('pcrs', pcr, 0, PCR_LAST)
    const byte = 3 + (pcr >> 3)
    bank.writeUInt8(bank.readUInt8(byte) | (1 << (pcr & 7)), byte)
  }
  return bank
}

/** Reads what the TPM returned. PCR numbers come in ascending order, banks in the order sent. */
export function decodePcrSelection(wire: Uint8Array): readonly PcrSelection[] {
  const buffer = Buffer.from(wire)
  const banks: PcrSelection[] = []
  let offset = 4
  for (let left = buffer.readUInt32BE(); left > 0; left--) {
    const size = buffer.readUInt8(offset + 2)
    const bitmap = buffer.subarray(offset + 3, offset + 3 + size)
    banks.push({ hash: bankName(buffer.readUInt16BE(offset)), pcrs: pcrsOf(bitmap) })
    offset += 3 + size
  }
  return banks
}

function bankName(algorithm: number): PcrSelection['hash'] {
  for (const hash of ['sha1', 'sha256', 'sha384', 'sha512'] as const) {
    if (BANK_ALGORITHMS[hash] === algorithm) return hash
  }
  throw new TpmError('TPM_RESPONSE', `a PCR bank of unknown algorithm 0x${algorithm.toString(16)}`)
}

function pcrsOf(bitmap: Uint8Array): number[] {
  return [...bitmap].flatMap((byte, index) =>
    [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => byte & (1 << bit)).map((bit) => index * 8 + bit),
  )
}
