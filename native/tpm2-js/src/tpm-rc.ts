/**
 * Decoding of 32-bit TSS2_RC values: which layer spoke, what it said, and about which parameter,
 * handle or session. Pure: needs no library.
 *
 * Sources: TPM 2.0 Library Part 2, 6.6 "TPM_RC"; TCG TSS 2.0 Overview and Common Structures, 2.4.
 */

/** The part of the software stack that produced a response code. */
export type TpmLayer =
  | 'tpm'
  | 'fapi'
  | 'esys'
  | 'sys'
  | 'mu'
  | 'tcti'
  | 'resmgr'
  | 'resmgr-tpm'
  | 'policy'
  | 'binding'
  | 'unknown'

/** What a TPM response code complains about; `number` counts from 1 in the order of the command. */
export interface TpmSubject {
  readonly kind: 'handle' | 'session' | 'parameter'
  readonly number: number
}

export interface DecodedRc {
  readonly layer: TpmLayer
  /** `TPM_RC_…` or `TSS2_RC_…` name, or `0x…` of a code that the tables do not have. */
  readonly name: string
  readonly subject: TpmSubject | undefined
  /** Whether the same command may be tried again later without any other change. */
  readonly retry: boolean
}

const LAYERS: Readonly<Record<number, TpmLayer>> = {
  0: 'tpm',
  6: 'fapi',
  7: 'esys',
  8: 'sys',
  9: 'mu',
  10: 'tcti',
  11: 'resmgr',
  12: 'resmgr-tpm',
  13: 'policy',
}

/** Part 2, table 16, RC_VER1: bit 8 set, bits 7 and 11 clear. Keyed by the low seven bits. */
const FORMAT_ZERO = words(`
  00 INITIALIZE 01 FAILURE 03 SEQUENCE 0B PRIVATE 19 HMAC 20 DISABLED 21 EXCLUSIVE 24 AUTH_TYPE
  25 AUTH_MISSING 26 POLICY 27 PCR 28 PCR_CHANGED 2D UPGRADE 2E TOO_MANY_CONTEXTS
  2F AUTH_UNAVAILABLE 30 REBOOT 31 UNBALANCED 42 COMMAND_SIZE 43 COMMAND_CODE 44 AUTHSIZE
  45 AUTH_CONTEXT 46 NV_RANGE 47 NV_SIZE 48 NV_LOCKED 49 NV_AUTHORIZATION 4A NV_UNINITIALIZED
  4B NV_SPACE 4C NV_DEFINED 50 BAD_CONTEXT 51 CPHASH 52 PARENT 53 NEEDS_TEST 54 NO_RESULT
  55 SENSITIVE`)

/** Part 2, table 16, RC_FMT1: bit 7 set. Keyed by the low six bits. */
const FORMAT_ONE = words(`
  01 ASYMMETRIC 02 ATTRIBUTES 03 HASH 04 VALUE 05 HIERARCHY 07 KEY_SIZE 08 MGF 09 MODE 0A TYPE
  0B HANDLE 0C KDF 0D RANGE 0E AUTH_FAIL 0F NONCE 10 PP 12 SCHEME 15 SIZE 16 SYMMETRIC 17 TAG
  18 SELECTOR 1A INSUFFICIENT 1B SIGNATURE 1C KEY 1D POLICY_FAIL 1F INTEGRITY 20 TICKET
  21 RESERVED_BITS 22 BAD_AUTH 23 EXPIRED 24 POLICY_CC 25 BINDING 26 CURVE 27 ECC_POINT
  28 FW_LIMITED 29 SVN_LIMITED`)

/** Part 2, table 16, RC_WARN: bits 8 and 11 set, bit 7 clear. Keyed by the low seven bits. */
const WARNING = words(`
  01 CONTEXT_GAP 02 OBJECT_MEMORY 03 SESSION_MEMORY 04 MEMORY 05 SESSION_HANDLES 06 OBJECT_HANDLES
  07 LOCALITY 08 YIELDED 09 CANCELED 0A TESTING 10 REFERENCE_H0 11 REFERENCE_H1 12 REFERENCE_H2
  13 REFERENCE_H3 14 REFERENCE_H4 15 REFERENCE_H5 16 REFERENCE_H6 18 REFERENCE_S0 19 REFERENCE_S1
  1A REFERENCE_S2 1B REFERENCE_S3 1C REFERENCE_S4 1D REFERENCE_S5 1E REFERENCE_S6 20 NV_RATE
  21 LOCKOUT 22 RETRY 23 NV_UNAVAILABLE`)

/** TSS2_BASE_RC_…, the low 16 bits of every layer above the TPM (TSS 2.0 common structures, 2.4.1). */
const BASE = words(`
  01 GENERAL_FAILURE 02 NOT_IMPLEMENTED 03 BAD_CONTEXT 04 ABI_MISMATCH 05 BAD_REFERENCE
  06 INSUFFICIENT_BUFFER 07 BAD_SEQUENCE 08 NO_CONNECTION 09 TRY_AGAIN 0A IO_ERROR 0B BAD_VALUE
  0C NOT_PERMITTED 0D INVALID_SESSIONS 0E NO_DECRYPT_PARAM 0F NO_ENCRYPT_PARAM 10 BAD_SIZE
  11 MALFORMED_RESPONSE 12 INSUFFICIENT_CONTEXT 13 INSUFFICIENT_RESPONSE 14 INCOMPATIBLE_TCTI
  15 NOT_SUPPORTED 16 BAD_TCTI_STRUCTURE 17 MEMORY 18 BAD_TR 19 MULTIPLE_DECRYPT_SESSIONS
  1A MULTIPLE_ENCRYPT_SESSIONS 1B RSP_AUTH_FAILED`)

/** Conditions that pass by themselves: busy, testing, rate-limited, out of slots, locked out. */
const PASSING = new Set([
  0x902, 0x903, 0x904, 0x905, 0x906, 0x908, 0x909, 0x90a, 0x920, 0x921, 0x922, 0x923,
])

/** Decodes any response code of the stack. Never throws: an unknown code is named by its number. */
export function decodeRc(rc: number): DecodedRc {
  if (rc === 0) return { layer: 'tpm', name: 'TPM_RC_SUCCESS', subject: undefined, retry: false }
  const layer = LAYERS[(rc >>> 16) & 0xff] ?? 'unknown'
  const code = rc & 0xffff
  if (layer === 'tpm' || layer === 'resmgr-tpm') return { layer, ...decodeTpmCode(code) }
  // A resource manager answers with TPM-shaped codes too: 0x000B0143 is the kernel's COMMAND_CODE.
  if (layer === 'resmgr' && (code & 0x180) !== 0) return { layer, ...decodeTpmCode(code) }
  const name = BASE.get(code)
  return {
    layer,
    name: name === undefined ? hex(rc) : `TSS2_RC_${name}`,
    subject: undefined,
    retry: false,
  }
}

function decodeTpmCode(code: number): Omit<DecodedRc, 'layer'> {
  const retry = PASSING.has(code)
  // Part 2, 6.6.3: the answer of a TPM 1.2, and of a TPM to one.
  if (code === 0x01e) return { name: 'TPM_RC_BAD_TAG', subject: undefined, retry }
  if ((code & 0x80) !== 0) {
    return { name: tpmName(FORMAT_ONE.get(code & 0x3f), code), subject: subjectOf(code), retry }
  }
  const table = (code & 0x800) !== 0 ? WARNING : FORMAT_ZERO
  const name = (code & 0x100) !== 0 ? table.get(code & 0x7f) : undefined
  return { name: tpmName(name, code), subject: undefined, retry }
}

/** Part 2, 6.6.2: bit 6 tells parameters from the rest; otherwise bit 11 tells sessions from handles. */
function subjectOf(code: number): TpmSubject | undefined {
  const isParameter = (code & 0x40) !== 0
  const number = (code >> 8) & (isParameter ? 0xf : 0x7)
  if (number === 0) return undefined
  if (isParameter) return { kind: 'parameter', number }
  return { kind: (code & 0x800) !== 0 ? 'session' : 'handle', number }
}

function tpmName(name: string | undefined, code: number): string {
  return name === undefined ? hex(code) : `TPM_RC_${name}`
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16).toUpperCase()}`
}

function words(table: string): ReadonlyMap<number, string> {
  const pairs = [...table.matchAll(/([0-9A-F]{2}) (\w+)/g)]
  return new Map(pairs.map(([, code = '', name = '']) => [Number.parseInt(code, 16), name]))
}
