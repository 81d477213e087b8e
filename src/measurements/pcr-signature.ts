import { createHash } from 'node:crypto'
import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import {
  hashAlgorithm,
  STRONG_HASHES,
  type StrongHash,
  type TpmHash,
} from '../format/algorithms.ts'
import { describe } from '../format/evidence.ts'
import { base64Bytes, hexBytes } from '../format/json-codec.ts'
import { parseStrictJson } from '../format/strict-json.ts'
import type { PcrValues } from './pcr-quote.ts'
import { hasSigned, type SigningKey } from './signing-key.ts'

/**
 * Signed PCR values, as systemd has them in the section `.pcrsig` of a unified kernel image and in
 * /run/systemd/tpm2-pcr-signature.json (src/measure/measure-tool.c): for each bank a list of entries. What is
 * signed is not a value but the policy digest that TPM2_PolicyPCR makes of it, always by SHA-256.
 */

const PCR_SIGNATURES_BYTES_MAX = 64 * 1024
const ENTRIES_MAX = 64
const SIGNATURE_BYTES_MAX = 1024
const SELECT_BYTES = 3
const TPM_CC_POLICY_PCR = 0x0000_017f

// The same members with others besides: systemd adds some now and then, and none of them is believed.
const entrySchema = z.looseObject({
  pcrs: z.array(z.int().min(0).max(23)).min(1).max(24),
  /** TPM2_PolicyPCR's digest. */
  pol: hexBytes(32, 32),
  /** Policy reference: signed along with the digest, as TPM2_PolicyAuthorize wants it. */
  ref: z.string().max(256).optional(),
  sig: base64Bytes(1, SIGNATURE_BYTES_MAX),
})
const entries = z.array(entrySchema).max(ENTRIES_MAX).optional()
const schema = z.looseObject({ sha256: entries, sha384: entries, sha512: entries })

export type PcrSignatures = Readonly<z.output<typeof schema>>

/** Reads a `.pcrsig`; the section of an image may be padded with NULs. @throws MetabindError VERIFY_PCR_SIGNATURES */
export function parsePcrSignatures(file: Uint8Array): PcrSignatures {
  if (file.length > PCR_SIGNATURES_BYTES_MAX) {
    malformed(`Longer than ${PCR_SIGNATURES_BYTES_MAX} bytes.`)
  }
  const parsed = schema.safeParse(jsonOf(file))
  if (!parsed.success) malformed(describe(parsed.error))
  return parsed.data
}

/** Which values must be signed, and by whom. */
export interface ExpectedSignature {
  readonly bank: StrongHash
  readonly pcrs: readonly number[]
  readonly key: SigningKey
  readonly ref: string | undefined
}

/**
 * The entry that is of these values and signed by the key.
 *
 * @returns its place in the list of its bank, from 1; undefined if there is none
 */
export function signedEntry(
  signatures: PcrSignatures,
  values: PcrValues,
  { bank, pcrs, key, ref }: ExpectedSignature,
): number | undefined {
  const policy = policyPcr(bank, pcrs, values)
  if (policy === undefined) return undefined
  const wanted = ascending(pcrs).join()
  const at = (signatures[bank] ?? []).findIndex((entry) => {
    const isOfThem =
      ascending(entry.pcrs).join() === wanted && entry.pol.equals(policy) && entry.ref === ref
    return isOfThem && isSigned(key, policy, ref, entry.sig, bank)
  })
  return at === -1 ? undefined : at + 1
}

/** Until March 2026 systemd signed by the hash of the bank. */
function isSigned(
  { key }: SigningKey,
  policy: Buffer,
  ref: string | undefined,
  signature: Buffer,
  bank: ExpectedSignature['bank'],
): boolean {
  const reference = ref === undefined ? Buffer.alloc(0) : sha256(Buffer.from(ref))
  const signed = Buffer.concat([policy, reference])
  return [...new Set([STRONG_HASHES[0], bank])].some((hash) =>
    hasSigned({ key, hash }, signed, signature),
  )
}

/**
 * The policy digest of a fresh session of SHA-256 after TPM2_PolicyPCR (TPM 2.0 Part 3, 23.7): of zeros, the command's code,
 * the selection, and the digest of the values in ascending order.
 *
 * @returns undefined if a PCR is not among the values
 */
function policyPcr(
  bank: TpmHash['name'],
  pcrs: readonly number[],
  values: PcrValues,
): Buffer | undefined {
  const sorted = ascending(pcrs)
  const chosen = sorted.map((pcr) => values.get(bank)?.get(pcr))
  if (!chosen.every((value) => value !== undefined)) return undefined
  const head = Buffer.alloc(4 + 4 + 2 + 1)
  head.writeUInt32BE(TPM_CC_POLICY_PCR, 0)
  head.writeUInt32BE(1, 4)
  head.writeUInt16BE(hashAlgorithm(bank), 8)
  head.writeUInt8(SELECT_BYTES, 10)
  const bitmap = Buffer.alloc(SELECT_BYTES)
  for (const pcr of sorted)
    bitmap.writeUInt8(bitmap.readUInt8(pcr >> 3) | (1 << (pcr & 7)), pcr >> 3)
  return sha256(Buffer.concat([Buffer.alloc(32), head, bitmap, sha256(Buffer.concat(chosen))]))
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

/** Each once. */
function ascending(pcrs: readonly number[]): number[] {
  return [...new Set(pcrs)].sort((one, other) => one - other)
}

function jsonOf(file: Uint8Array): unknown {
  const buffer = Buffer.from(file.buffer, file.byteOffset, file.byteLength)
  const end = buffer.findLastIndex((byte) => byte !== 0) + 1
  try {
    return parseStrictJson(buffer.subarray(0, end))
  } catch (error) {
    const why = error instanceof MetabindError ? (error.detail ?? error.message) : String(error)
    return malformed(why, error)
  }
}

function malformed(why: string, cause?: unknown): never {
  throw new MetabindError('VERIFY_PCR_SIGNATURES', why, cause)
}
