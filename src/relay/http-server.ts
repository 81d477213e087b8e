import type { Duplex } from 'node:stream'
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify'
import { ERRORS, type ErrorCode, MetabindError } from '../errors.ts'
import { isClosing } from './answer-error.ts'
import { identifyCaller } from './caller.ts'
import type { NamesExecutable } from './process.ts'

/** Bounds that every connection is held to. */
export interface HttpBounds {
  readonly connections: number
  readonly headerBytesMax: number
  readonly bodyBytesMax: number
  readonly requestTimeoutMs: number
  readonly idleTimeoutMs: number
}

// What node:http reports before there is a request to answer.
const CLIENT_ERRORS: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'REQUEST_TOO_LARGE',
  ERR_HTTP_REQUEST_TIMEOUT: 'REQUEST_TIMEOUT',
}

/**
 * An HTTP server that knows its callers and bounds them. node:http parses, strictly; fastify routes.
 * The router is not asked to normalise anything: each route sees the target as it came.
 */
export function httpServer(
  bounds: HttpBounds,
  bodies: 'drop' | 'json' = 'drop',
  namesExecutable: () => NamesExecutable | undefined = () => undefined,
): FastifyInstance {
  const app: FastifyInstance = fastify({
    logger: false,
    bodyLimit: bounds.bodyBytesMax,
    requestTimeout: bounds.requestTimeoutMs,
    keepAliveTimeout: bounds.idleTimeoutMs,
    connectionTimeout: bounds.idleTimeoutMs,
    forceCloseConnections: 'idle',
    exposeHeadRoutes: false,
    http: {
      maxHeaderSize: bounds.headerBytesMax,
      headersTimeout: bounds.requestTimeoutMs,
      connectionsCheckingInterval: Math.min(1000, bounds.requestTimeoutMs),
      insecureHTTPParser: false,
    },
    // Where the router gives up on a target, fastify would answer in its own words, with the target.
    frameworkErrors: (error, request, reply) => app.errorHandler(error, request, reply),
    clientErrorHandler: (error, socket) => refuseRaw(socket, CLIENT_ERRORS[error.code ?? '']),
  })
  app.server.maxConnections = bounds.connections
  app.server.on('connection', (socket) => {
    identifyCaller(socket, { namesExecutable: namesExecutable() })
  })
  app.server.on('connect', (_request, socket) => refuseRaw(socket, 'REQUEST_METHOD'))
  app.addHook('onRequest', requireOrder)
  if (bodies === 'drop') dropBodies(app)
  return app
}

/** Refuses what is not HTTP/1, and what came behind a request that was refused as ambiguous. */
function requireOrder(request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
  const { httpVersion, socket } = request.raw
  if (isClosing(socket)) throw new MetabindError('REQUEST_MALFORMED', 'behind a refused request')
  // The parser takes a target that a bare line feed ends for HTTP/0.9, and reads headers after it.
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    throw new MetabindError('REQUEST_MALFORMED', `HTTP/${httpVersion}`)
  }
  done()
}

/** Bodies mean nothing here: a small one is read and dropped, whatever its type says. */
function dropBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, _body, done) => {
    done(null, undefined)
  })
}

/** Answers on the bare connection, where no request could be made of what came, and closes it. */
function refuseRaw(socket: Duplex, code?: ErrorCode): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const { status, sentence } = ERRORS[code ?? 'REQUEST_MALFORMED']
  const body = `${code ?? 'REQUEST_MALFORMED'}: ${sentence}`
  socket.end(
    `HTTP/1.1 ${status} Refused\r\nContent-Type: text/plain; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}
