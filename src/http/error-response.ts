import type { Socket } from 'node:net'
import type { FastifyReply } from 'fastify'
import { ERRORS } from '../error-table.ts'
import { type ErrorCode, MetabindError, outsideCode, RateError, RoleError } from '../errors.ts'

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

// What was sent behind such a request may have been read already; it is not carried out.
const closing = new WeakSet<Socket>()

/** Whether an earlier request on this connection was refused with its end. */
export function isClosing(socket: Socket): boolean {
  return closing.has(socket)
}

/**
 * Answers a failed request: the status of the dialect, a code and a sentence, nothing else but the
 * cloud's own Code for a role. SDKs copy this body into their own logs, so it never holds a detail. The request id leads whoever may
 * read the audit records to the detail.
 */
export function answerError(
  reply: FastifyReply,
  error: MetabindError,
  statuses: Readonly<Partial<Record<ErrorCode, number>>>,
): FastifyReply {
  const code = outsideCode(error.code)
  const status = statuses[code] ?? ERRORS[code].status
  if (status === 503 || status === 429) reply.header('Retry-After', retryAfterSeconds(error))
  const role = error instanceof RoleError ? ` ${error.detail}` : ''
  if (CLOSING.has(code)) {
    reply.header('Connection', 'close')
    closing.add(reply.request.raw.socket)
  }
  return reply
    .code(status)
    .type('text/plain; charset=utf-8')
    .header('Cache-Control', 'no-store')
    .header('X-Metabind-Request-Id', reply.request.id)
    .send(`${code}: ${ERRORS[code].sentence}${role}`)
}

function retryAfterSeconds(error: MetabindError): string {
  return String(error instanceof RateError ? error.retryAfterSeconds : RETRY_AFTER_SECONDS)
}

/** What fastify and node:http raise by themselves, in our words; anything else is our own fault. */
export function asMetabindError(error: unknown): MetabindError {
  if (error instanceof MetabindError) return error
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new MetabindError('REQUEST_BODY')
  if (code === 'FST_ERR_BAD_URL' || code === 'FST_ERR_MAX_PARAM_LENGTH') {
    return new MetabindError('REQUEST_PATH')
  }
  if (code.startsWith('FST_ERR_CTP_') || code === 'ECONNRESET') {
    return new MetabindError('REQUEST_MALFORMED', code)
  }
  return new MetabindError('INTERNAL', undefined, error)
}
