import type { OwnExplanation } from '../admin-api.ts'
import { shownCaller } from '../caller/shown.ts'
import { MetabindError } from '../errors.ts'
import type { HttpResponse } from '../http/response.ts'
import { explainFor } from '../policy/explain.ts'
import { auditForeign } from '../token/inspection.ts'
import { parseAudience } from './identity-token.ts'
import type { JudgedRequest } from './judged-request.ts'
import { knowsPath } from './known-path.ts'
import { EXPLAIN_PREFIX } from './own-paths.ts'
import type { RelayDeps } from './relay-deps.ts'

/** Answers of the agent's own, under /metabind. */

function json(value: object): HttpResponse {
  const headers = { 'content-type': 'application/json; charset=utf-8' }
  return { status: 200, headers, body: JSON.stringify(value) }
}

/** What the token of a request is, good or not. */
export function inspectForCaller(deps: RelayDeps, request: JudgedRequest): HttpResponse {
  const { id, headers, caller } = request
  const found = deps.inspect(headers.token ?? '', caller)
  auditForeign(deps.audit, found, id, caller)
  return json(found)
}

/** Whom the agent takes the caller for. */
export function tellCaller({ caller }: JudgedRequest): HttpResponse {
  return json(shownCaller(caller))
}

/** @throws MetabindError LISTEN_URI_OFF, LISTEN_URI_UNNAMED */
export function tellCredentialsUrl(
  { credentialsUrl }: RelayDeps,
  { caller }: JudgedRequest,
): HttpResponse {
  if (credentialsUrl === undefined) throw new MetabindError('LISTEN_URI_OFF')
  return { status: 200, headers: { 'content-type': 'text/plain' }, body: credentialsUrl(caller) }
}

/** Of the rules that do not decide callers learn nothing: their names may speak of others. */
export async function explainToCaller(
  deps: RelayDeps,
  { caller, target }: JudgedRequest,
): Promise<HttpResponse> {
  const asked = target.path.slice(EXPLAIN_PREFIX.length - 1)
  const { passedOver: _others, ...own } = explainFor(deps.policy(), caller, asked)
  // Nor whether there is anything where they may not read.
  if (!own.allowed && own.mode === 'enforce') return json(own)
  const known = await knowsPath(deps, own.path, () => deps.limits.requireMiss(caller.uid))
  return json({ ...own, known } satisfies OwnExplanation)
}

/**
 * The one answer that the TPM makes while somebody waits for it; its queue is short and bounded.
 *
 * @throws MetabindError REQUEST_QUERY, LIMIT_SIGNATURES, TPM_…
 */
export async function issueIdentityToken(
  deps: RelayDeps,
  { id, caller, target }: JudgedRequest,
): Promise<HttpResponse> {
  const detail = parseAudience(target.query)
  const token = await deps.identityTokens.issue(detail)
  deps.audit({ event: 'identity.issued', id, caller, detail })
  const headers = { 'content-type': 'application/jwt', 'cache-control': 'no-store' }
  return { status: 200, headers, body: token.reveal() }
}
