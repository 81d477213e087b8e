import { randomBytes } from 'node:crypto'
import type { IncomingMessage, RequestListener, Server, ServerOptions } from 'node:http'
import { type FastifyInstance, type FastifyServerFactory, fastify } from 'fastify'
import { identifyCaller } from '../caller/connection.ts'
import type { ErrorCode } from '../errors.ts'
import { type Admission, guardConnections, type Identify, REFUSED_OPEN_MAX } from './admission.ts'
import { guardRequests, wrapRequestListener } from './pipelining.ts'
import { refuseRaw, UNREAD_MS_MAX } from './refuse-raw.ts'
import { framingOf, HEADERS_READ_MAX, requireOrder } from './request-order.ts'
import { type HttpResponse, sendBare } from './response.ts'

/** Bounds that every connection is held to. */
export interface HttpBounds {
  readonly connections: number
  readonly headerBytesMax: number
  readonly bodyBytesMax: number
  readonly requestTimeoutMs: number
  readonly idleTimeoutMs: number
}

/** Options of node:http that hold a server to its bounds. */
interface ServerBounds extends ServerOptions {
  readonly requestTimeout: number
}

/** Bounds in the words of node:http, whose parser stays strict. */
export function serverBounds(bounds: HttpBounds): ServerBounds {
  return {
    maxHeaderSize: bounds.headerBytesMax,
    requestTimeout: bounds.requestTimeoutMs,
    headersTimeout: bounds.requestTimeoutMs,
    keepAliveTimeout: bounds.idleTimeoutMs,
    // How late any of these may be noticed; 30 s if left out.
    connectionsCheckingInterval: Math.min(1000, bounds.requestTimeoutMs),
    // It would answer those without a Host by itself: requireOrder does, or the service that is asked.
    requireHostHeader: false,
    insecureHTTPParser: false,
  }
}

/** Makes such a server. It hands what speaks HTTP on as `secureConnection`, as those of node:https do. */
export type MakeServer = (http: ServerBounds, listener: RequestListener) => Server

/**
 * Answers a request that has no body, refusing what is to be refused, requireOrder's part too.
 *
 * @param id of the request
 * @returns undefined if it has a body, which fastify is to read
 */
export type AnswerBodiless = (
  id: string,
  incoming: IncomingMessage,
) => HttpResponse | Promise<HttpResponse> | undefined

// What node:http reports before there is a request to answer.
const CLIENT_ERRORS: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'REQUEST_TOO_LARGE',
  ERR_HTTP_REQUEST_TIMEOUT: 'REQUEST_TIMEOUT',
}

/**
 * An HTTP server that knows its callers and bounds them. node:http parses, strictly; fastify routes.
 * `identify` asks the kernel for the peer of a Unix socket if the transport is no other.
 * The router is not asked to normalise anything: each route sees the target as it came.
 *
 * @param answerBodiless answers what has no body without fastify, whose share of a request that is answered
 *   from memory would be the largest
 * @param makeServer undefined: what connects speaks HTTP
 */
export function httpServer(
  bounds: HttpBounds,
  bodies: 'drop' | 'json' = 'drop',
  admission?: Admission,
  identify: Identify = (socket) => identifyCaller(socket),
  answerBodiless?: AnswerBodiless,
  makeServer?: MakeServer,
): FastifyInstance {
  const nextId = requestIds()
  const http = serverBounds(bounds)
  const serverFactory: FastifyServerFactory | undefined =
    makeServer && ((listener) => makeServer(http, listener))
  const app: FastifyInstance = fastify({
    logger: false,
    genReqId: nextId,
    bodyLimit: bounds.bodyBytesMax,
    requestTimeout: bounds.requestTimeoutMs,
    keepAliveTimeout: bounds.idleTimeoutMs,
    forceCloseConnections: 'idle',
    exposeHeadRoutes: false,
    http,
    ...(serverFactory === undefined ? {} : { serverFactory }),
    // If the router gives up on a target, fastify would answer in its own words, with the target.
    frameworkErrors: (error, request, reply) => app.errorHandler(error, request, reply),
    clientErrorHandler: (error, socket) => {
      const code = CLIENT_ERRORS[error.code ?? ''] ?? 'REQUEST_MALFORMED'
      // A connection that was reset asked nothing.
      if (socket.writable) admission?.refused(code, socket)
      refuseRaw(socket, code)
    },
  })
  // What comes beyond it Node leaves out silently, so it gets to see more than is let through.
  app.server.maxHeadersCount = HEADERS_READ_MAX
  // Admission keeps to bounds.connections; what it refuses must not take the place of what it keeps.
  app.server.maxConnections = bounds.connections + (admission === undefined ? 0 : REFUSED_OPEN_MAX)
  guardConnections(app.server, bounds, identify, admission)
  if (bodies === 'drop') dropBodies(app)
  if (answerBodiless !== undefined) serveBodiless(app.server, nextId, answerBodiless)
  guardRequests(app.server)
  app.server.on('drop', () => admission?.dropped())
  app.server.on('connect', (_request, socket) => {
    // node:http has let go of the connection: a peer that has gone already would end the process.
    socket.on('error', () => socket.destroy())
    admission?.refused('REQUEST_METHOD', socket)
    refuseRaw(socket, 'REQUEST_METHOD')
    // Nor does it read on, or watch a deadline: the connection would stay, even when its peer has gone.
    socket.resume()
    setTimeout(() => socket.destroy(), UNREAD_MS_MAX).unref()
  })
  app.addHook('onRequest', (request, _reply, done) => {
    requireOrder(request.raw, framingOf(request.raw.rawHeaders))
    done()
  })
  return app
}

/** Puts an answerer before fastify's, behind whatever guards the server's requests. */
function serveBodiless(server: Server, nextId: () => string, answer: AnswerBodiless): void {
  wrapRequestListener(server, (serve) => (incoming, response) => {
    const answered = answer(nextId(), incoming)
    if (answered === undefined) serve(incoming, response)
    else sendBare(response, answered)
  })
}

/** Eight characters of this process and a counter: unique in the journal of an instance. */
function requestIds(): () => string {
  const process = randomBytes(4).toString('hex')
  let count = 0
  return () => {
    count += 1
    return `${process}-${count}`
  }
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Where bodies are dropped: the handler of this route gets its body, as bytes. */
    readonly keepsBody?: boolean
  }
}

/** Bodies mean nothing here but to routes that keep them: a small one is read and dropped, whatever its type says. */
function dropBodies(app: FastifyInstance): void {
  // Nor does what the type says have to be a type: clients send `json`, or nothing.
  app.addHook('onRequest', (request, _reply, done) => {
    if (request.raw.headers['content-type'] !== undefined)
      delete request.raw.headers['content-type']
    done()
  })
  // Of one that nobody reads, as of GET, or behind an early refusal, Node would keep 128 KiB.
  wrapRequestListener(app.server, (serve) => (incoming, response) => {
    serve(incoming, response)
    if (framingOf(incoming.rawHeaders).hasBody) incoming.resume()
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (request, body, done) => {
    done(null, request.routeOptions.config.keepsBody === true ? body : undefined)
  })
}
