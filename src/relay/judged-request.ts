import type { IncomingMessage } from 'node:http'
import type { Caller } from '../caller/caller.ts'
import { callerOf } from '../caller/connection.ts'
import type { Dialect } from '../dialect/dialect.ts'
import { type AskedFor, askedFor } from '../policy/audience.ts'
import { type CanonicalTarget, canonicalTarget } from '../policy/canonical-path.ts'
import { EXPLAIN_PREFIX, OWN_PREFIX } from './own-paths.ts'
import {
  asksForFresh,
  judgeHeaders,
  judgeQuery,
  type ReadHeaders,
  type RequestHeaders,
} from './request-rules.ts'

/** A request whose caller, headers and target have been judged: all that an answer is made of. */
export interface JudgedRequest {
  /** Of the request, for the audit records and for refused callers. */
  readonly id: string
  readonly method: string
  readonly caller: Caller
  readonly headers: RequestHeaders
  readonly target: CanonicalTarget
  /** For whom, on a path that takes an audience. */
  readonly asked: AskedFor | undefined
  /** Whether the source itself is to be asked. */
  readonly wantsFresh: boolean
  /** On the paths that take one. */
  readonly body?: Buffer
}

/**
 * Asked when an answer is there that had to be waited for, before anything is said of it: meanwhile its token may have
 * ended, another policy may be in force, and the agent may have stopped.
 *
 * @throws MetabindError why this caller may not have it any more
 */
export type StillPermitted = (request: JudgedRequest) => void

export interface JudgeDeps {
  readonly dialect: Dialect
  /** What a listener of another form makes of a request before it is answered like any other. */
  readonly rewrite?: (request: JudgedRequest) => JudgedRequest
}

/**
 * Everything that can be said of a request before asking what it wants. Its body is not looked at.
 *
 * @param headers of the same request
 * @throws MetabindError CALLER_UNKNOWN, then those of judgeHeaders, canonicalTarget and judgeQuery, in this order
 */
export function judge(
  id: string,
  incoming: IncomingMessage,
  headers: ReadHeaders,
  { dialect, rewrite }: JudgeDeps,
): JudgedRequest {
  const caller = callerOf(incoming.socket)
  judgeHeaders(headers)
  const target = canonicalTarget(incoming.url ?? '')
  const asked = judgeTarget(target, dialect)
  const wantsFresh = asksForFresh(headers, caller.uid)
  const judged = { id, method: incoming.method ?? '', caller, headers, target, asked, wantsFresh }
  return rewrite === undefined ? judged : rewrite(judged)
}

/** @throws MetabindError REQUEST_QUERY */
function judgeTarget({ path, query }: CanonicalTarget, dialect: Dialect): AskedFor | undefined {
  if (!path.startsWith(OWN_PREFIX)) {
    judgeQuery(path, query, dialect)
    return undefined
  }
  const asked = askedFor(path, query)
  if (asked !== undefined || query === undefined) return asked
  // Who asks about such a path names the audience as who asks for it does.
  const isAbout = path.startsWith(EXPLAIN_PREFIX)
  if (!isAbout || askedFor(path.slice(EXPLAIN_PREFIX.length - 1), query) === undefined) {
    judgeQuery(path, query, dialect)
  }
  return undefined
}
