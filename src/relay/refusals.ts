import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AuditEvent, AuditRecord } from '../audit/audit.ts'
import { callerOf, uidOf } from '../caller/connection.ts'
import { requireRead } from '../caller/shown.ts'
import { type ErrorCode, MetabindError } from '../errors.ts'
import { asMetabindError, errorResponse } from '../http/error-response.ts'
import type { HttpResponse } from '../http/response.ts'
import { TOKEN_CHARACTERS } from '../token/claims.ts'
import type { JudgedRequest } from './judged-request.ts'
import type { RelayDeps } from './relay-deps.ts'
import { judgeHeaders, readHeaders } from './request-rules.ts'
import type { Route } from './routes.ts'

/** Which refusals are recorded, and as what. The others, such as a mistyped path, are nobody's concern. */
export const REFUSAL_EVENTS: Readonly<Partial<Record<ErrorCode, AuditEvent>>> = {
  CALLER_UNKNOWN: 'request.refused',
  REQUEST_FORWARDED: 'request.refused',
  REQUEST_BROWSER: 'request.refused',
  TOKEN_FOREIGN: 'token.foreign',
  TOKEN_TTL: 'token.refused',
  TOKEN_MISSING: 'token.refused',
  TOKEN_INVALID: 'token.refused',
  TOKEN_MALFORMED: 'token.refused',
  TOKEN_VERSION: 'token.refused',
  TOKEN_EPOCH: 'token.refused',
  TOKEN_FORGED: 'token.refused',
  TOKEN_REVOKED: 'token.refused',
  TOKEN_EXPIRED: 'token.refused',
  TOKEN_CALLER: 'token.refused',
  TOKEN_UNIT: 'token.refused',
  LIMIT_CONNECTIONS: 'limit.refused',
  LIMIT_RATE: 'limit.refused',
  LIMIT_SIGNATURES: 'limit.refused',
  LIMIT_REVOCATIONS: 'limit.refused',
}

// Answers that say nothing against whoever asked: an absent path is an answer like any other.
const NOT_OF_THE_CALLER = /^(METADATA|SOURCE|AGENT|INTERNAL)/
// A credentials URL is a secret of its caller; the log gets the rest of the path.
const URL_SECRET = /(\/metabind\/+v1\/+credentials\/+)[^/]+/i
// As long as a session token is, or longer. Who mistook the path for its place may have added to it.
const TOKEN_IN_PATH = new RegExp(`[A-Za-z0-9_-]{${TOKEN_CHARACTERS},}`, 'g')

/** A request that is refused, as far as it came. */
interface RefusedRequest {
  readonly id: string
  readonly incoming: IncomingMessage
  /** Undefined: it was refused before all of it was judged. */
  readonly judged: JudgedRequest | undefined
}

/** Makes the answer to a request out of what was thrown; it comes late for a user that floods. */
export type Refuse = (
  refused: RefusedRequest,
  thrown: unknown,
) => HttpResponse | Promise<HttpResponse>

export function refuser(deps: RelayDeps, routeOf: (path: string) => Route): Refuse {
  return (refused, thrown) => {
    const { id, incoming, judged } = refused
    const error = refusalOf(thrown, incoming, deps)
    if (error.code === 'INTERNAL') deps.logFault(error)
    const kind = judged === undefined ? 'none' : routeOf(judged.target.path).kind
    deps.counters.answered(kind, error.code)
    record(deps, refused, error)
    const response = errorResponse(error, id, deps.dialect.status)
    const isOfTheCaller = !NOT_OF_THE_CALLER.test(error.code)
    const pauseMs = isOfTheCaller ? deps.limits.pauseMs(uidOf(incoming.socket)) : 0
    return pauseMs > 0 ? sleep(pauseMs, response) : response
  }
}

/** Why a request is refused. If the router gave up on its target, nobody has judged its headers yet. */
function refusalOf(
  thrown: unknown,
  { rawHeaders }: IncomingMessage,
  { dialect }: Pick<RelayDeps, 'dialect'>,
): MetabindError {
  if (thrown instanceof MetabindError) return thrown
  const error = asMetabindError(thrown)
  if (error.code !== 'REQUEST_PATH') return error
  try {
    judgeHeaders(readHeaders(rawHeaders, dialect))
    return error
  } catch (earlier) {
    return asMetabindError(earlier)
  }
}

function record(
  { audit }: Pick<RelayDeps, 'audit'>,
  { id, incoming }: RefusedRequest,
  { code, detail }: MetabindError,
): void {
  const event = REFUSAL_EVENTS[code]
  if (event === undefined) return
  // Without the query: whoever mistakes it for a place for tokens must not find them in the log.
  const sent = (incoming.url ?? '').split('?', 1)[0] ?? ''
  const path = sent
    .replace(URL_SECRET, '$1[secret]')
    .replace(TOKEN_IN_PATH, '[token]')
    .slice(0, 256)
  audit({ event, id, code, detail, ...whoIsOn(incoming.socket), path })
}

/** The caller, or only its user if no more is known. */
export function whoIsOn(socket: Duplex): Pick<AuditRecord, 'caller' | 'uid'> {
  try {
    const caller = callerOf(socket)
    requireRead(caller)
    return { caller }
  } catch {
    return { uid: uidOf(socket) }
  }
}
