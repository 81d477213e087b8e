import type { IncomingMessage } from 'node:http'
import type { Caller } from '../caller/caller.ts'
import { callerOf } from '../caller/connection.ts'
import type { Dialect } from '../dialect/dialect.ts'
import { type CanonicalTarget, canonicalTarget } from '../policy/canonical-path.ts'
import { IDENTITY_PATH } from './own-paths.ts'
import { asksForFresh, judgeHeaders, judgeQuery, type RequestHeaders } from './request-rules.ts'

/** A request whose caller, headers and target have been judged: all that an answer is made of. */
export interface JudgedRequest {
  /** Of the request, for the audit records and for refused callers. */
  readonly id: string
  readonly method: string
  readonly caller: Caller
  readonly headers: RequestHeaders
  readonly target: CanonicalTarget
  /** Whether the source itself is to be asked. */
  readonly wantsFresh: boolean
}

export interface JudgeDeps {
  readonly dialect: Dialect
  /** What a listener of another form makes of a request before it is answered like any other. */
  readonly rewrite?: (request: JudgedRequest) => JudgedRequest
}

/**
 * Everything that can be said of a request before asking what it wants. Its body is not looked at.
 *
 * @throws MetabindError CALLER_UNKNOWN, then those of judgeHeaders, canonicalTarget and judgeQuery, in this order
 */
export function judge(
  id: string,
  incoming: IncomingMessage,
  { dialect, rewrite }: JudgeDeps,
): JudgedRequest {
  const caller = callerOf(incoming.socket)
  const headers = judgeHeaders(incoming.rawHeaders, dialect)
  const target = canonicalTarget(incoming.url ?? '')
  if (target.path !== IDENTITY_PATH) judgeQuery(target.path, target.query, dialect)
  const wantsFresh = asksForFresh(incoming.rawHeaders, caller.uid)
  const judged = { id, method: incoming.method ?? '', caller, headers, target, wantsFresh }
  return rewrite === undefined ? judged : rewrite(judged)
}
