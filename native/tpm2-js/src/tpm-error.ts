import { decodeRc, type TpmLayer, type TpmSubject } from './tpm-rc.ts'

/** Every way in which this library refuses. README.md says what each means and what helps. */
export type TpmErrorCode =
  | 'TPM_ABSENT'
  | 'TPM_ARGUMENT'
  | 'TPM_BUSY'
  | 'TPM_CLOSED'
  | 'TPM_LIBRARY'
  | 'TPM_LIBRARY_MISSING'
  | 'TPM_LIBRARY_UNFIT'
  | 'TPM_NOT_PERMITTED'
  | 'TPM_OBJECT_GONE'
  | 'TPM_RC'
  | 'TPM_RESPONSE'
  | 'TPM_STUCK'
  | 'TPM_TCTI_INVALID'
  | 'TPM_TCTI_UNNAMED'
  | 'TPM_TIMEOUT'
  | 'TPM_TRANSPORT'

/** Codes after which the same call may succeed later without anybody changing a setting. */
const PASSING: ReadonlySet<TpmErrorCode> = new Set([
  'TPM_ABSENT',
  'TPM_BUSY',
  'TPM_STUCK',
  'TPM_TIMEOUT',
  'TPM_TRANSPORT',
])

/** The only error class of this library. Switch on `code`; `rc` and its parts say what the TPM said. */
export class TpmError extends Error {
  override readonly name = 'TpmError'
  readonly code: TpmErrorCode
  /** The whole 32-bit response code, or undefined if none was involved. */
  readonly rc: number | undefined
  /** Name of the response code (`TPM_RC_BAD_AUTH`), or undefined if none was involved. */
  readonly rcName: string | undefined
  /** Who refused. `binding` is this library. */
  readonly layer: TpmLayer
  /** Which handle, session or parameter of the command the TPM complained about. */
  readonly subject: TpmSubject | undefined
  /** Whether the same command may be tried again later, on a new context for TIMEOUT and TRANSPORT. */
  readonly retry: boolean

  constructor(code: TpmErrorCode, message: string, options: { rc?: number; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    const decoded = options.rc === undefined ? undefined : decodeRc(options.rc)
    this.code = code
    this.rc = options.rc
    this.rcName = decoded?.name
    this.layer = decoded?.layer ?? 'binding'
    this.subject = decoded?.subject
    this.retry = PASSING.has(code) || decoded?.retry === true
  }
}

/** Low 16 bits of the codes by which ESAPI says that a response is not what the TPM sent. */
const BAD_RESPONSE: ReadonlySet<number> = new Set([0x11, 0x13, 0x1b])

/** The error for a response code other than success, with `text` from Tss2_RC_Decode. */
export function errorOfRc(command: string, rc: number, text: string): TpmError {
  const { layer, name, subject } = decodeRc(rc)
  const about = subject === undefined ? '' : `, ${subject.kind} ${subject.number}`
  const message = `${command}: ${name} (0x${rc.toString(16)}${about}): ${text}`
  return new TpmError(codeOfLayer(layer, rc), message, { rc })
}

function codeOfLayer(layer: TpmLayer, rc: number): TpmErrorCode {
  if (layer === 'tpm' || layer === 'resmgr' || layer === 'resmgr-tpm') return 'TPM_RC'
  if (layer === 'tcti') return 'TPM_TRANSPORT'
  if (layer === 'sys' || layer === 'mu' || BAD_RESPONSE.has(rc & 0xffff)) return 'TPM_RESPONSE'
  return 'TPM_LIBRARY'
}

export function isTimeout(error: unknown): boolean {
  return error instanceof TpmError && error.code === 'TPM_TIMEOUT'
}
