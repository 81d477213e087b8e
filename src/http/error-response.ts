import { ERRORS } from '../error-table.ts'
import {
  type ErrorCode,
  LaterError,
  MetabindError,
  nodeErrorCode,
  outsideCode,
  RoleError,
} from '../errors.ts'
import type { HttpResponse } from './response.ts'

/** Seconds that callers are told to wait after a refusal that will pass. */
const RETRY_AFTER_SECONDS = 1
// After these the peer and we may disagree on where the next request begins, or it floods us.
const CLOSING = new Set<ErrorCode>([
  'REQUEST_MALFORMED',
  'REQUEST_HEADERS',
  'REQUEST_PATH',
  'REQUEST_TIMEOUT',
  'REQUEST_BODY',
  'REQUEST_TOO_LARGE',
])

/** A refusal whose answer says more in its headers. */
export class RefusalWithHeaders extends MetabindError {
  readonly headers: HttpResponse['headers']

  constructor(code: ErrorCode, headers: HttpResponse['headers']) {
    super(code)
    this.headers = headers
  }
}

/**
 * The answer to a failed request: the status of the dialect, a code and a sentence, nothing else but the
 * cloud's own Code for a role. SDKs copy this body into their own logs, so it never holds a detail. The request id leads whoever may
 * read the audit records to the detail.
 */
export function errorResponse(
  error: MetabindError,
  requestId: string,
  statuses: Readonly<Partial<Record<ErrorCode, number>>>,
): HttpResponse {
  const code = outsideCode(error.code)
  const status = statuses[code] ?? ERRORS[code].status
  const role = error instanceof RoleError ? ` ${error.detail}` : ''
  return {
    status,
    headers: {
      ...(error instanceof RefusalWithHeaders ? error.headers : {}),
      ...(status === 503 || status === 429 ? { 'retry-after': retryAfterSeconds(error) } : {}),
      ...(CLOSING.has(code) ? { connection: 'close' } : {}),
      'content-type': 'text/plain; charset=utf-8',
      'cache-control': 'no-store',
      'x-metabind-request-id': requestId,
    },
    body: `${code}: ${ERRORS[code].sentence}${role}`,
  }
}

function retryAfterSeconds(error: MetabindError): string {
  return String(error instanceof LaterError ? error.retryAfterSeconds : RETRY_AFTER_SECONDS)
}

/** What fastify and node:http raise by themselves, in our words; anything else is our own fault. */
export function asMetabindError(error: unknown): MetabindError {
  if (error instanceof MetabindError) return error
  const code = nodeErrorCode(error) ?? ''
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new MetabindError('REQUEST_BODY')
  if (code === 'FST_ERR_BAD_URL' || code === 'FST_ERR_MAX_PARAM_LENGTH') {
    return new MetabindError('REQUEST_PATH')
  }
  if (code.startsWith('FST_ERR_CTP_') || code === 'ECONNRESET') {
    return new MetabindError('REQUEST_MALFORMED', code)
  }
  return new MetabindError('INTERNAL', undefined, error)
}
