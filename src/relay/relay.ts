import type { Server } from 'node:http'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { connectionOf, identifyCaller } from '../caller/connection.ts'
import { MetabindError } from '../errors.ts'
import type { Admission, Identify } from '../http/admission.ts'
import { lookAtOpen } from '../http/open-connections.ts'
import { requireOrder } from '../http/request-order.ts'
import { sendResponse } from '../http/response.ts'
import { type AnswerBodiless, httpServer } from '../http/server.ts'
import { namedOfCallers } from '../policy/policy.ts'
import { type JudgedRequest, judge } from './judged-request.ts'
import { EXPLAIN_PROOF_PATH, PROOF_PATH } from './own-paths.ts'
import { PROOF_BODY_BYTES_MAX } from './proof.ts'
import { type Refuse, refuser, whoIsOn } from './refusals.ts'
import type { RelayDeps } from './relay-deps.ts'
import { readHeaders } from './request-rules.ts'
import { type Respond, responder, router, routes } from './routes.ts'

declare module 'fastify' {
  interface FastifyRequest {
    judged: JudgedRequest | undefined
  }
}

/** The metadata socket: caller, headers, path, method, token, policy, answer, in this order. */
export function relay(deps: RelayDeps): FastifyInstance {
  const routeOf = router(routes(deps))
  const respond = responder(routeOf, deps)
  const refuse = refuser(deps, routeOf)
  const app = httpServer(
    deps.bounds,
    'drop',
    admission(deps),
    deps.identify ?? identifyPeer(deps),
    answerer(deps, respond, refuse),
  )
  const judgedOf = (request: FastifyRequest): JudgedRequest => {
    const { id, raw } = request
    request.judged ??= judge(id, raw, readHeaders(raw.rawHeaders, deps.dialect), deps)
    return request.judged
  }
  const handle = (request: FastifyRequest, reply: FastifyReply) =>
    sendResponse(reply, respond(withBody(judgedOf(request), request.body)))
  forgetEndedTokens(app.server, deps)
  app.decorateRequest('judged', undefined)
  // Before its body is read.
  app.addHook('onRequest', (request, _reply, done) => {
    judgedOf(request)
    done()
  })
  for (const path of [PROOF_PATH, EXPLAIN_PROOF_PATH]) {
    app.post(path, { bodyLimit: PROOF_BODY_BYTES_MAX, config: { keepsBody: true } }, handle)
  }
  app.all('/*', handle)
  app.setNotFoundHandler(handle)
  app.setErrorHandler((error, { id, raw: incoming, judged }, reply) =>
    sendResponse(reply, refuse({ id, incoming, judged }, error)),
  )
  return app
}

function withBody(judged: JudgedRequest, body: unknown): JudgedRequest {
  return Buffer.isBuffer(body) ? { ...judged, body } : judged
}

/**
 * What rules name of a caller, and what a token is bound to, is what it was at accept: by the time that it is
 * needed, the process may have run another program, or be where another user's are.
 */
function identifyPeer({ policy, tokens }: RelayDeps): Identify {
  return (socket) => {
    const { isPlace, executable } = namedOfCallers(policy())
    const isReadLater = !isPlace && executable === undefined && !tokens.bindsUnit()
    identifyCaller(socket, { namesExecutable: executable, isReadLater })
  }
}

/** At its expiry a token is gone, also if its connection stays and nothing is asked on it. */
function forgetEndedTokens(server: Server, { tokens }: RelayDeps): void {
  lookAtOpen(server, (socket) => {
    const { caller } = connectionOf(socket)
    if (caller !== undefined && !(caller instanceof MetabindError)) tokens.forgetEnded(caller)
  })
}

/** The same for requests without a body, which need nothing of fastify: they are nearly all there are. */
function answerer(deps: RelayDeps, respond: Respond, refuse: Refuse): AnswerBodiless {
  return (id, incoming) => {
    const headers = readHeaders(incoming.rawHeaders, deps.dialect)
    if (headers.hasBody) return undefined
    let judged: JudgedRequest | undefined
    try {
      requireOrder(incoming, headers)
      judged = judge(id, incoming, headers, deps)
      const response = respond(judged)
      if (!(response instanceof Promise)) return response
      return response.catch((error: unknown) => refuse({ id, incoming, judged }, error))
    } catch (error) {
      return refuse({ id, incoming, judged }, error)
    }
  }
}

/** Connections per uid, and what becomes known of those refused before there is a request. */
function admission({ limits, counters, audit }: RelayDeps): Admission {
  return {
    admit: (...asking) => {
      const admitted = limits.admit(...asking)
      if (admitted === undefined) return undefined
      counters.connections += 1
      return () => {
        counters.connections -= 1
        limits.leave(admitted)
      }
    },
    refused: (code, socket) => {
      counters.answered('none', code)
      if (code === 'LIMIT_CONNECTIONS') audit({ event: 'limit.refused', code, ...whoIsOn(socket) })
    },
    dropped: () => counters.limited('total'),
  }
}
