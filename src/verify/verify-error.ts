import { type ErrorCode, MetabindError, type VerifyCode } from '../errors.ts'

/** A refusal: which check refused, and with what code. `detail` says what was found. */
export class VerifyError extends MetabindError {
  override readonly name = 'VerifyError'
  declare readonly code: VerifyCode
  /** Name of the check in CHECKS, or of the function's subject if it is outside of that list. */
  readonly check: string

  constructor(code: VerifyCode, check: string, detail?: string, cause?: unknown) {
    super(code, detail, cause)
    this.check = check
  }
}

function isVerifyCode(code: ErrorCode): code is VerifyCode {
  return code.startsWith('VERIFY_')
}

/** Runs a part that refuses with MetabindError and says in whose name. Anything else is a fault of ours. */
export function inCheck<T>(check: string, part: () => T): T {
  try {
    return part()
  } catch (error) {
    if (error instanceof MetabindError && isVerifyCode(error.code)) {
      throw new VerifyError(error.code, check, error.detail, error.cause)
    }
    throw error
  }
}
