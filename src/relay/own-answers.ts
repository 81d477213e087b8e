import type { OwnExplanation } from '../admin-api.ts'
import type { Caller } from '../caller/caller.ts'
import { shownCaller } from '../caller/shown.ts'
import { MetabindError } from '../errors.ts'
import { isFleetTokenFormat } from '../federation/exchange.ts'
import type { KeptToken } from '../federation/token-cache.ts'
import type { HttpResponse } from '../http/response.ts'
import type { AskedFor } from '../policy/audience.ts'
import { explainFor, explainProofFor } from '../policy/explain.ts'
import type { Gate } from '../policy/gate.ts'
import type { Decision, ProofAsked } from '../policy/policy.ts'
import type { Secret } from '../secret.ts'
import { auditForeign } from '../token/inspection.ts'
import type { JudgedRequest, StillPermitted } from './judged-request.ts'
import { knowsPath } from './known-path.ts'
import { EXPLAIN_PREFIX } from './own-paths.ts'
import { parseProofAsked, parseProofRequest } from './proof.ts'
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
  request: JudgedRequest,
  stillPermitted: StillPermitted,
): Promise<HttpResponse> {
  const { path, query } = request.target
  const about = path.slice(EXPLAIN_PREFIX.length - 1)
  const asked = query === undefined ? about : `${about}?${query}`
  const before = explainToSelf(deps, request.caller, asked)
  if (isRefused(before)) return json(before)
  const onMiss = () => deps.limits.requireMiss(request.caller.uid)
  const known = await knowsPath(deps, before.path, onMiss).finally(() => stillPermitted(request))
  // Under the policy that is in force now.
  const own = explainToSelf(deps, request.caller, asked)
  return json(isRefused(own) ? own : ({ ...own, known } satisfies OwnExplanation))
}

function explainToSelf(deps: RelayDeps, caller: Caller, path: string) {
  const { passedOver: _others, ...own } = explainFor(deps.policy(), caller, path)
  return own
}

/** Then nobody is told whether there is anything either. */
function isRefused({ allowed, mode }: ReturnType<typeof explainToSelf>): boolean {
  return !allowed && mode === 'enforce'
}

/**
 * An answer that the TPM makes while somebody waits for it; its queue is short and bounded, and users take turns.
 *
 * @throws MetabindError FEDERATION_RESERVED, LIMIT_SIGNATURES, TPM_…, those of stillPermitted
 */
export async function issueIdentityToken(
  deps: RelayDeps & { readonly gate: Gate },
  request: JudgedRequest,
  stillPermitted: StillPermitted,
): Promise<HttpResponse> {
  const { id, caller, target } = request
  const { audience } = requireAsked(request)
  // Whoever had one could have of the registrar what the policy lets nobody but root have of it here.
  if (audience === deps.federation?.url) throw new MetabindError('FEDERATION_RESERVED')
  const token = await deps.identityTokens
    .issue(audience, caller)
    .finally(() => stillPermitted(request))
  deps.gate.seen(caller, target.path, audience)
  deps.audit({ event: 'identity.issued', id, caller, detail: audience })
  return jwt(token)
}

/**
 * A token that the registrar has signed for an audience. One that was asked for before is answered at once.
 *
 * @throws MetabindError REQUEST_QUERY, FEDERATION_…, LIMIT_…, TPM_…, those of stillPermitted
 */
export function issueFleetToken(
  deps: RelayDeps & { readonly gate: Gate },
  request: JudgedRequest,
  stillPermitted: StillPermitted,
): HttpResponse | Promise<HttpResponse> {
  const { id, caller, target } = request
  const { audience, format } = requireAsked(request)
  if (format !== undefined && !isFleetTokenFormat(format)) throw new MetabindError('REQUEST_QUERY')
  if (deps.federation === undefined) throw new MetabindError('FEDERATION_OFF')
  const issued = deps.federation.tokens.issue({ audience, format, caller })
  const told = ({ token }: KeptToken): HttpResponse => {
    deps.gate.seen(caller, target.path, audience)
    deps.audit({ event: 'federation.issued', id, caller, audience, detail: format })
    return jwt(token)
  }
  if (!(issued instanceof Promise)) return told(issued)
  return issued.finally(() => stillPermitted(request)).then(told)
}

function jwt(token: Secret<string>): HttpResponse {
  const headers = { 'content-type': 'application/jwt', 'cache-control': 'no-store' }
  return { status: 200, headers, body: token.reveal() }
}

/** Whoever judged the request has read it, on a path that takes it. */
function requireAsked({ asked }: JudgedRequest): AskedFor {
  if (asked === undefined) throw new MetabindError('INTERNAL', 'no audience')
  return asked
}

/** Who decides about proofs, with the token of the request. */
export interface ProofGate {
  permit(request: JudgedRequest, asked: ProofAsked): Decision
  /** The same again when it is signed. */
  permitStill(request: JudgedRequest, asked: ProofAsked): void
}

/**
 * A proof that this instance has its SK, for one request to a service elsewhere. SK signs it as identity tokens.
 *
 * @throws MetabindError PROOF_REQUEST, PROOF_URL, PROOF_DENIED, LIMIT_RATE, LIMIT_SIGNATURES, TPM_…
 */
export async function signProof(
  deps: RelayDeps,
  request: JudgedRequest,
  gate: ProofGate,
): Promise<HttpResponse> {
  const { id, caller, target } = request
  const asked = parseProofRequest(request.body)
  const { rule } = gate.permit(request, asked)
  deps.limits.requireProof(caller.uid)
  const proof = await deps.proofs
    .make(asked, caller.uid)
    .finally(() => gate.permitStill(request, asked))
  const detail = [asked.kind, asked.method, asked.url.text].filter(Boolean).join(' ')
  deps.audit({ event: 'proof.signed', id, caller, path: target.path, rule, detail })
  const headers = { 'content-type': 'application/jwt', 'cache-control': 'no-store' }
  return { status: 200, headers, body: proof.reveal() }
}

/** Whether the caller may have a proof, and by which rule. @throws MetabindError PROOF_REQUEST, PROOF_URL */
export function explainProofToCaller(
  deps: RelayDeps,
  { caller, body }: JudgedRequest,
): HttpResponse {
  const { passedOver: _others, ...own } = explainProofFor(
    deps.policy(),
    caller,
    parseProofAsked(body),
  )
  return json(own)
}
