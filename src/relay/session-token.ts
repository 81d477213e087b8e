import type { HttpResponse } from '../http/response.ts'
import type { JudgedRequest } from './judged-request.ts'
import type { RelayDeps } from './relay-deps.ts'
import { parseTtlSeconds } from './request-rules.ts'

/**
 * Issues a session token to whoever asks, for the lifetime that was asked for.
 *
 * @throws MetabindError TOKEN_TTL, AGENT_STOPPED, LIMIT_RATE, those of TokenAuthority.issue
 */
export function issueSessionToken(deps: RelayDeps, request: JudgedRequest): HttpResponse {
  const { id, caller, headers } = request
  const ttlSeconds = parseTtlSeconds(headers.ttl, deps.ttlSecondsMax())
  deps.requireRunning()
  deps.limits.requireMint(caller.uid)
  const token = deps.tokens.issue(ttlSeconds, caller)
  deps.audit({ event: 'token.issued', id, caller, ttlSeconds })
  return {
    status: 200,
    headers: {
      'content-type': 'text/plain',
      [deps.dialect.ttlHeader]: String(ttlSeconds),
      'cache-control': 'no-store',
    },
    // No line end: clients put the body into a header as it is.
    body: token.reveal(),
  }
}
