import { ERRORS, type ErrorEntry } from './error-table.ts'

export type ErrorCode = keyof typeof ERRORS

/** The codes of the verifier's refusals; docs/verify.md lists them. */
export type VerifyCode = Extract<ErrorCode, `VERIFY_${string}`>

/**
 * A failure with a code of the table. `detail` is for the log and the command line, never for a caller. A
 * refusal, whose status is below 500, has no stack: to walk it costs more than the rest of refusing, and a
 * caller can have that done as often as it likes.
 */
export class MetabindError extends Error {
  override readonly name: string = 'MetabindError'
  readonly code: ErrorCode
  readonly detail: string | undefined

  constructor(code: ErrorCode, detail?: string, cause?: unknown) {
    const { stackTraceLimit } = Error
    if (ERRORS[code].status < 500) Error.stackTraceLimit = 0
    super(detail === undefined ? ERRORS[code].sentence : `${ERRORS[code].sentence} ${detail}`, {
      ...(cause === undefined ? {} : { cause }),
    })
    Error.stackTraceLimit = stackTraceLimit
    this.code = code
    this.detail = detail
  }
}

/** A refusal that will pass, with the time after which another try can succeed. */
export class LaterError extends MetabindError {
  readonly retryAfterSeconds: number

  constructor(code: ErrorCode, retryAfterSeconds: number, detail?: string, cause?: unknown) {
    super(code, detail, cause)
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/** LIMIT_RATE. */
export class RateError extends LaterError {
  constructor(retryAfterSeconds: number, detail: string) {
    super('LIMIT_RATE', retryAfterSeconds, detail)
  }
}

/** SOURCE_ROLE, with the Code that came in place of credentials: a word of the cloud, not of a caller. */
export class RoleError extends MetabindError {
  readonly roleCode: string

  constructor(roleCode: string) {
    super('SOURCE_ROLE', `Its Code is ${roleCode}.`)
    this.roleCode = roleCode
  }
}

/** Wrong use of the command line: exit code 2. The message names the argument. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** The code that a caller is told for an inner code. */
export function outsideCode(code: ErrorCode): ErrorCode {
  const entry: ErrorEntry = ERRORS[code]
  return entry.says !== undefined && entry.says in ERRORS ? (entry.says as ErrorCode) : code
}

/** The message chain of an error, outermost first, for one log line. */
export function causeChain(error: unknown): string {
  const parts: string[] = []
  for (let at: unknown = error; at instanceof Error && parts.length < 8; at = at.cause) {
    parts.push(at.message)
  }
  return parts.length === 0 ? String(error) : parts.join(': ')
}

/** The code that Node, or a library on it, gave an error: `ENOENT`, `FST_ERR_BAD_URL`. */
export function nodeErrorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined
}

// In words of what was named on a command line: the system's own are of calls and functions.
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'it is not there',
  EEXIST: 'it is there already',
  EACCES: 'this user may not use it',
  EPERM: 'this user may not use it',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of its path is no directory',
  ELOOP: 'it is a symbolic link',
  ENOSPC: 'no space is left',
  EROFS: 'the file system is read-only',
  EADDRINUSE: 'something listens there already',
  EADDRNOTAVAIL: 'this machine has no such address',
}

/** Why the system refused something, without the name of its error; undefined if it was not the system. */
export function systemReason(error: unknown): string | undefined {
  const code = nodeErrorCode(error)
  if (!(error instanceof Error) || !('syscall' in error) || code === undefined) return undefined
  const rest = error.message.replace(/^.*?\bE[A-Z0-9]+:? ?/, '').replace(/, \w+(?: '.*)?$/s, '')
  return REASONS[code] ?? rest
}

/** A path, and why the system refused it if it was the system: the detail of an error about a file. */
export function pathWithReason(path: string, error: unknown): string {
  const reason = systemReason(error)
  return reason === undefined ? path : `${path}: ${reason}.`
}
