import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Audit, AuditRecord } from '../audit/audit.ts'
import { type Caller, callerOf, uidOf } from '../caller/caller.ts'
import { shownCaller } from '../caller/shown.ts'
import type { Dialect } from '../dialect/dialect.ts'
import { type ErrorCode, MetabindError } from '../errors.ts'
import { answerError, asMetabindError } from '../http/error-response.ts'
import { type Admission, type HttpBounds, httpServer, type Identify } from '../http/server.ts'
import type { Answered, Metadata } from '../metadata/metadata.ts'
import { type CanonicalTarget, canonicalTarget } from '../policy/canonical-path.ts'
import { type Explanation, explainFor } from '../policy/explain.ts'
import { type Gate, gate } from '../policy/gate.ts'
import { executablesNamed, isSecret, type Policy } from '../policy/policy.ts'
import type { TokenAuthority } from '../token/authority.ts'
import { auditForeign, type Inspection } from '../token/inspection.ts'
import type { Counters, Route } from './counters.ts'
import { type IdentityTokens, parseAudience } from './identity-token.ts'
import { isRelayed, knowsPath } from './known-path.ts'
import type { Limits } from './limits.ts'
import {
  CREDENTIALS_URL_PATH,
  EXPLAIN_PREFIX,
  IDENTITY_PATH,
  INSPECT_PATH,
  WHOAMI_PATH,
} from './own-paths.ts'
import {
  asksForFresh,
  judgeHeaders,
  judgeQuery,
  parseTtlSeconds,
  type RequestHeaders,
} from './request-rules.ts'

/** What the relay is made of. All of it is ready before the relay listens. */
export interface RelayDeps {
  readonly dialect: Dialect
  readonly tokens: TokenAuthority
  readonly metadata: Metadata
  readonly identityTokens: IdentityTokens
  readonly audit: Audit
  readonly bounds: HttpBounds
  readonly limits: Limits
  readonly counters: Counters
  readonly ttlSecondsMax: () => number
  /** The policy in force. */
  readonly policy: () => Policy
  /** @throws MetabindError AGENT_STOPPED while tokens are neither issued nor accepted */
  readonly requireRunning: () => void
  /** A fault of our own, once, with its cause. */
  readonly logFault: (error: MetabindError) => void
  /** How a connection's caller is found; by the Unix socket's peer if absent. */
  readonly identify?: Identify
  /** What a listener of another form makes of a request before it is answered like any other. */
  readonly rewrite?: (asked: Asked) => Asked
  /** The caller's own credentials URL, if that listener is on. */
  readonly credentialsUrl?: ((caller: Caller) => string) | undefined
  /** What is said of a token to its owner. */
  readonly inspect: (token: string, caller: Caller) => Inspection
}

/** What is known of a request before its body is looked at. */
export interface Asked {
  readonly caller: Caller
  readonly headers: RequestHeaders
  readonly target: CanonicalTarget
}

declare module 'fastify' {
  interface FastifyRequest {
    asked: Asked | undefined
  }
}

// Answers that say nothing against whoever asked: an absent path is an answer like any other.
const NOT_OF_THE_CALLER = /^(METADATA|SOURCE|AGENT|INTERNAL)/
// A credentials URL is a secret of its caller; the log gets the rest of the path.
const URI_SECRET = /(\/metabind\/+v1\/+credentials\/+)[^/]+/i

/** Most requests are answered at once: from the cache, without a promise. */
type Answering = FastifyReply | Promise<FastifyReply>

/** The metadata socket: caller, headers, path, method, token, policy, answer, in this order. */
export function relay(deps: RelayDeps): FastifyInstance {
  const namesExecutable = () => executablesNamed(deps.policy())
  const app = httpServer(deps.bounds, 'drop', namesExecutable, admission(deps), deps.identify)
  const policed = { ...deps, gate: gate(deps.policy, deps.audit) }
  app.decorateRequest('asked', undefined)
  app.addHook('onRequest', (request, _reply, done) => {
    request.asked = judge(request, deps)
    done()
  })
  const answer = (request: FastifyRequest, reply: FastifyReply) => {
    const asked = request.asked ?? judge(request, deps)
    const answering =
      asked.target.path === deps.dialect.tokenPath
        ? issueToken(deps, asked, request, reply)
        : readMetadata(policed, asked, request, reply)
    const count = () => deps.counters.answered(routeOf(asked, deps.dialect), 'OK')
    if (answering instanceof Promise) return answering.then(count)
    // Not the reply, which fastify would wait for: it is thenable.
    return count()
  }
  app.all('/*', answer)
  app.setNotFoundHandler(answer)
  app.setErrorHandler(async (error, request, reply) => {
    const known = refusalOf(error, request, deps.dialect)
    if (known.code === 'INTERNAL') deps.logFault(known)
    deps.counters.answered(routeOf(request.asked, deps.dialect), known.code)
    auditRefusal(deps, known, request)
    const isOfTheCaller = !NOT_OF_THE_CALLER.test(known.code)
    const pauseMs = isOfTheCaller ? deps.limits.pauseMs(uidOf(request.raw.socket)) : 0
    if (pauseMs > 0) await sleep(pauseMs)
    return answerError(reply, known, deps.dialect.status)
  })
  return app
}

/** Connections per uid, and what becomes known of those refused before there is a request. */
function admission({ limits, counters, audit }: RelayDeps): Admission {
  return {
    admit: (...holder) => {
      if (!limits.admit(...holder)) return false
      counters.connections += 1
      return true
    },
    leave: (...holder) => {
      counters.connections -= 1
      limits.leave(...holder)
    },
    refused: (code, socket) => {
      counters.answered('none', code)
      if (code === 'LIMIT_CONNECTIONS') audit({ event: 'limit.refused', code, ...whoIsOn(socket) })
    },
    dropped: () => counters.limited('total'),
  }
}

function routeOf(asked: Asked | undefined, dialect: Dialect): Route {
  if (asked === undefined) return 'none'
  if (asked.target.path === dialect.tokenPath) return 'token'
  return asked.target.path.startsWith('/metabind/') ? 'own' : 'metadata'
}

/** Everything that can be said of a request before asking what it wants. */
function judge(request: FastifyRequest, { dialect, rewrite }: RelayDeps): Asked {
  const caller = callerOf(request.raw.socket)
  const headers = judgeHeaders(request.raw.rawHeaders, dialect)
  const target = canonicalTarget(request.raw.url ?? '')
  if (target.path !== IDENTITY_PATH) judgeQuery(target.path, target.query, dialect)
  const asked = { caller, headers, target }
  return rewrite === undefined ? asked : rewrite(asked)
}

/** Why a request is refused. The router gives up on a target before its headers were judged. */
function refusalOf(error: unknown, request: FastifyRequest, dialect: Dialect): MetabindError {
  const known = asMetabindError(error)
  if (known.code !== 'REQUEST_PATH') return known
  try {
    judgeHeaders(request.raw.rawHeaders, dialect)
    return known
  } catch (earlier) {
    return asMetabindError(earlier)
  }
}

function issueToken(
  deps: RelayDeps,
  asked: Asked,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply {
  requireMethod(request, reply, ['PUT'])
  const ttlSeconds = parseTtlSeconds(asked.headers.ttl, deps.ttlSecondsMax())
  deps.requireRunning()
  deps.limits.requireMint(asked.caller.uid)
  const token = deps.tokens.issue(ttlSeconds, asked.caller)
  deps.audit({ event: 'token.issued', id: request.id, caller: asked.caller, ttlSeconds })
  // No line end: clients put the body into a header as it is.
  return reply
    .type('text/plain')
    .header(deps.dialect.ttlHeader, String(ttlSeconds))
    .header('Cache-Control', 'no-store')
    .send(token.reveal())
}

type PolicedDeps = RelayDeps & { readonly gate: Gate }

function readMetadata(
  deps: PolicedDeps,
  asked: Asked,
  request: FastifyRequest,
  reply: FastifyReply,
): Answering {
  requireMethod(request, reply, ['GET', 'HEAD'])
  if (asked.headers.token === undefined) throw new MetabindError('TOKEN_MISSING')
  deps.requireRunning()
  if (asked.target.path === INSPECT_PATH) return reply.send(inspect(deps, asked, request))
  deps.tokens.redeem(asked.headers.token, asked.caller)
  if (asked.target.path.startsWith(EXPLAIN_PREFIX)) {
    return explainToCaller(deps, asked).then((found) => reply.send(found))
  }
  if (asked.target.path === WHOAMI_PATH) return reply.send(shownCaller(asked.caller))
  if (asked.target.path === CREDENTIALS_URL_PATH) {
    if (deps.credentialsUrl === undefined) throw new MetabindError('LISTEN_URI_OFF')
    return reply.type('text/plain').send(deps.credentialsUrl(asked.caller))
  }
  deps.gate.permit(asked.caller, asked.target.path)
  if (asked.target.path === IDENTITY_PATH) return issueIdentity(deps, asked, request, reply)
  if (!isRelayed(asked.target.path, deps.dialect)) throw new MetabindError('METADATA_ABSENT')
  const { path, query } = asked.target
  const answered = deps.metadata.read(path, query, {
    fresh: asksForFresh(request.headers['cache-control'], asked.caller.uid),
    onMiss: () => deps.limits.requireMiss(asked.caller.uid),
  })
  return answered instanceof Promise
    ? answered.then((known) => sendMetadata(deps, asked, request, reply, known))
    : sendMetadata(deps, asked, request, reply, answered)
}

/** The one read that a bad token does not end: it is what is asked about. */
function inspect(deps: RelayDeps, { headers, caller }: Asked, request: FastifyRequest): Inspection {
  const found = deps.inspect(headers.token ?? '', caller)
  auditForeign(deps.audit, found, request.id, caller)
  return found
}

/** Of the rules that do not decide callers learn nothing: their names may speak of others. */
async function explainToCaller(
  deps: RelayDeps,
  { caller, target }: Asked,
): Promise<Omit<Explanation, 'passedOver'>> {
  const asked = target.path.slice(EXPLAIN_PREFIX.length - 1)
  const { passedOver: _others, ...own } = explainFor(deps.policy(), caller, asked)
  // Nor whether there is anything where they may not read.
  if (!own.allowed && own.mode === 'enforce') return own
  const known = await knowsPath(deps, own.path, () => deps.limits.requireMiss(caller.uid))
  return { ...own, ...(known === undefined ? {} : { known }) }
}

function sendMetadata(
  deps: PolicedDeps,
  { caller, target: { path } }: Asked,
  request: FastifyRequest,
  reply: FastifyReply,
  answered: Answered,
): FastifyReply {
  deps.counters.cache(answered.cache)
  reply.header('Age', String(answered.ageSeconds)).header('X-Metabind-Cache', answered.cache)
  // The two headers stay on the refusal: a 404 has an age as well.
  if (answered.item === undefined) throw new MetabindError('METADATA_ABSENT')
  deps.gate.seen(caller, path)
  if (isSecret(deps.policy(), path)) {
    deps.audit({ event: 'secret.read', id: request.id, caller, path })
  }
  return reply.type(answered.item.contentType).send(answered.item.body)
}

/** The one answer that the TPM makes while somebody waits for it; its queue is short and bounded. */
async function issueIdentity(
  deps: RelayDeps,
  asked: Asked,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const detail = parseAudience(asked.target.query)
  const token = await deps.identityTokens.issue(detail)
  deps.audit({ event: 'identity.issued', id: request.id, caller: asked.caller, detail })
  return reply.type('application/jwt').header('Cache-Control', 'no-store').send(token.reveal())
}

function requireMethod(
  request: FastifyRequest,
  reply: FastifyReply,
  allowed: readonly string[],
): void {
  if (allowed.includes(request.method)) return
  reply.header('Allow', allowed.join(', '))
  throw new MetabindError('REQUEST_METHOD')
}

const REFUSED_REQUESTS = new Set<ErrorCode>([
  'REQUEST_FORWARDED',
  'REQUEST_BROWSER',
  'CALLER_UNKNOWN',
])

/** Records refusals of tokens and forwarded requests; a mistyped path is nobody's concern. */
function auditRefusal(deps: RelayDeps, error: MetabindError, request: FastifyRequest): void {
  const { code, detail } = error
  const event =
    code === 'TOKEN_FOREIGN'
      ? 'token.foreign'
      : code.startsWith('TOKEN_')
        ? 'token.refused'
        : code.startsWith('LIMIT_')
          ? 'limit.refused'
          : REFUSED_REQUESTS.has(code)
            ? 'request.refused'
            : undefined
  if (event === undefined) return
  // Without the query: whoever mistakes it for a place for tokens shall not find them in the log.
  const sent = (request.raw.url ?? '').split('?', 1)[0] ?? ''
  const path = sent.replace(URI_SECRET, '$1[secret]').slice(0, 256)
  deps.audit({ event, id: request.id, code, detail, ...whoIsOn(request.raw.socket), path })
}

/** The caller, or only its user if no more is known. */
function whoIsOn(socket: Duplex): Pick<AuditRecord, 'caller' | 'uid'> {
  try {
    return { caller: callerOf(socket) }
  } catch {
    return { uid: uidOf(socket) }
  }
}
