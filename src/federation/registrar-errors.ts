import { ERRORS } from '../error-table.ts'
import { type ErrorCode, MetabindError } from '../errors.ts'

/** What the registrar answers, or does not, in codes of the table: no text of its own goes any further. */

/** It says no. */
export class RegistrarRefusal extends MetabindError {
  readonly reason: ErrorCode

  constructor(reason: ErrorCode) {
    super('FEDERATION_REFUSED', `${reason}: ${ERRORS[reason].sentence}`)
    this.reason = reason
  }
}

/** It does not answer, not now, or with nothing that can be used. */
export class RegistrarDown extends MetabindError {
  /** What it said of the time of another try. */
  readonly retryAfterMs: number | undefined
  /** Of another request nothing is known: a filter before the registrar dislikes this one. */
  readonly isOfRequest: boolean

  constructor(detail?: string, retryAfterMs?: number, cause?: unknown, isOfRequest = false) {
    super('FEDERATION_DOWN', detail, cause)
    this.retryAfterMs = retryAfterMs
    this.isOfRequest = isOfRequest
  }
}

export function isKnownCode(word: unknown): word is ErrorCode {
  return typeof word === 'string' && Object.hasOwn(ERRORS, word)
}
