import { ByteReader } from './byte-reader.ts'
import { parseSelection, type TpmPcrSelection } from './tpm-pcr-selection.ts'
import { DIGEST_BYTES_MAX } from './tpm-public.ts'

/** No TPM makes a longer TPMS_ATTEST; the TSS has 2304 bytes for one. */
export const ATTEST_BYTES_MAX = 4096
/** nameAlg and the longest digest (Part 2, 10.5.3). */
export const NAME_BYTES_MAX = 66

/** TPM_GENERATED_VALUE: "\xffTCG" (Part 2, 6.2). Only a TPM begins what it signs with this. */
export const TPM_GENERATED = 0xff544347

/** TPM_ST of attestations (Part 2, 6.9). */
export const ATTEST_TYPE = {
  CERTIFY: 0x8017,
  QUOTE: 0x8018,
  TIME: 0x8019,
  CREATION: 0x801a,
} as const

/** TPMS_CLOCK_INFO (Part 2, 10.11.1). */
export interface TpmClockInfo {
  readonly clockMs: bigint
  readonly resetCount: number
  readonly restartCount: number
  /** False after a disorderly shutdown, until `clockMs` is certainly past its old maximum. */
  readonly safe: boolean
}

interface AttestBase {
  /** As it stands in the bytes: the verifier compares it with TPM_GENERATED. */
  readonly magic: number
  /** Qualified Name of the signer, as the TPM says. */
  readonly qualifiedSigner: Buffer
  readonly extraData: Buffer
  readonly clock: TpmClockInfo
  readonly firmwareVersion: bigint
}

/** What is attested (TPMU_ATTEST, Part 2, 10.12.11). Of other types only the number is kept. */
type AttestBody =
  | { readonly type: 'quote'; readonly selection: TpmPcrSelection[]; readonly pcrDigest: Buffer }
  | { readonly type: 'certify'; readonly name: Buffer; readonly qualifiedName: Buffer }
  | { readonly type: 'other'; readonly tag: number }

export type TpmAttest = AttestBase & { readonly body: AttestBody }

/**
 * Parses a TPMS_ATTEST (TPM 2.0 Part 2, 10.12.12). Magic and type are returned, not judged: the
 * signature comes first, and their refusals have codes of their own.
 *
 * @throws MetabindError VERIFY_STRUCTURE
 */
export function parseAttest(bytes: Uint8Array): TpmAttest {
  const reader = new ByteReader(bytes, 'TPMS_ATTEST')
  if (bytes.length > ATTEST_BYTES_MAX) reader.refuse(`longer than ${ATTEST_BYTES_MAX}`)
  const magic = reader.u32()
  const type = reader.u16()
  const attest = {
    magic,
    qualifiedSigner: reader.sized(NAME_BYTES_MAX),
    extraData: reader.sized(NAME_BYTES_MAX),
    clock: readClock(reader),
    firmwareVersion: reader.u64(),
    body: readBody(reader, type),
  }
  reader.end()
  return attest
}

function readClock(reader: ByteReader): TpmClockInfo {
  const clockMs = reader.u64()
  const resetCount = reader.u32()
  const restartCount = reader.u32()
  const safe = reader.u8()
  if (safe > 1) reader.refuse('TPMI_YES_NO is neither')
  return { clockMs, resetCount, restartCount, safe: safe === 1 }
}

function readBody(reader: ByteReader, tag: number): AttestBody {
  if (tag === ATTEST_TYPE.QUOTE) {
    const selection = parseSelection(reader)
    return { type: 'quote', selection, pcrDigest: reader.sized(DIGEST_BYTES_MAX) }
  }
  if (tag === ATTEST_TYPE.CERTIFY) {
    const name = reader.sized(NAME_BYTES_MAX)
    return { type: 'certify', name, qualifiedName: reader.sized(NAME_BYTES_MAX) }
  }
  reader.rest()
  return { type: 'other', tag }
}

/**
 * A TPMS_ATTEST out of what a producer may have wrapped as TPM2B_ATTEST (Part 2, 10.12.13). Decided
 * once, before verifying, by where the magic stands; the signature is over the unwrapped bytes.
 */
export function unwrapAttest(bytes: Uint8Array): Buffer {
  const buffer = Buffer.from(bytes)
  const wrapped =
    buffer.length >= 6 &&
    buffer.readUInt32BE(0) !== TPM_GENERATED &&
    buffer.readUInt16BE(0) === buffer.length - 2 &&
    buffer.readUInt32BE(2) === TPM_GENERATED
  return wrapped ? buffer.subarray(2) : buffer
}
