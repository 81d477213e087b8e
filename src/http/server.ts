import { randomBytes } from 'node:crypto'
import type { Server as HttpServer, IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify'
import { connectionOf, identifyCaller, isHostRoot, sharesOf, uidOf } from '../caller/connection.ts'
import type { NamesExecutable } from '../caller/process.ts'
import { ERRORS } from '../error-table.ts'
import { type ErrorCode, MetabindError } from '../errors.ts'
import { guardRequests } from './pipelining.ts'
import { boundBuffers } from './socket-buffers.ts'
import { closeUnread } from './unread.ts'

/** Bounds that every connection is held to. */
export interface HttpBounds {
  readonly connections: number
  readonly headerBytesMax: number
  readonly bodyBytesMax: number
  readonly requestTimeoutMs: number
  readonly idleTimeoutMs: number
}

/** Who says whether a connection may stay, and counts those that may not. */
export interface Admission {
  /**
   * @param uid undefined if the kernel names no user
   * @param shares how many connections it counts for
   * @param isRoot whether it is root of the host
   */
  admit(uid: number | undefined, shares: number, isRoot: boolean): boolean
  /** Once for each admitted connection, when it is closed. */
  leave(uid: number | undefined, shares: number, isRoot: boolean): void
  /** Told of every refusal that is answered on the bare connection. */
  refused(code: ErrorCode, socket: Duplex): void
  /** Told of a connection that was closed unanswered, because all together are too many. */
  dropped(): void
}

/**
 * Remembers the caller of a connection that was accepted, or that nobody can be named. If that takes
 * time, nothing is read from the connection before.
 */
export type Identify = (socket: Socket) => void | Promise<void>

/** Headers of a request. Each takes ten times of the heap what it is long, if it is short. */
const HEADERS_MAX = 64
/** Node hands over 32 at a time. */
export const HEADERS_READ_MAX = HEADERS_MAX + 32

// How long a refused connection may take to send the request that is not answered.
const UNREAD_MS_MAX = 100
/** Refused connections that are told so at once; those beyond it are closed without a word. */
const REFUSED_OPEN_MAX = 64

// What node:http reports before there is a request to answer.
const CLIENT_ERRORS: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'REQUEST_TOO_LARGE',
  ERR_HTTP_REQUEST_TIMEOUT: 'REQUEST_TIMEOUT',
}

/**
 * An HTTP server that knows its callers and bounds them. node:http parses, strictly; fastify routes.
 * `identify` asks the kernel for the peer of a Unix socket if the transport is no other.
 * The router is not asked to normalise anything: each route sees the target as it came.
 */
export function httpServer(
  bounds: HttpBounds,
  bodies: 'drop' | 'json' = 'drop',
  namesExecutable: () => NamesExecutable | undefined = () => undefined,
  admission?: Admission,
  identify: Identify = (socket) => identifyCaller(socket, { namesExecutable: namesExecutable() }),
): FastifyInstance {
  const app: FastifyInstance = fastify({
    logger: false,
    genReqId: requestIds(),
    bodyLimit: bounds.bodyBytesMax,
    requestTimeout: bounds.requestTimeoutMs,
    keepAliveTimeout: bounds.idleTimeoutMs,
    connectionTimeout: bounds.idleTimeoutMs,
    forceCloseConnections: 'idle',
    exposeHeadRoutes: false,
    http: {
      maxHeaderSize: bounds.headerBytesMax,
      requestTimeout: bounds.requestTimeoutMs,
      headersTimeout: bounds.requestTimeoutMs,
      // It would answer those without one by itself: requireOrder does.
      requireHostHeader: false,
      connectionsCheckingInterval: Math.min(1000, bounds.requestTimeoutMs),
      insecureHTTPParser: false,
    },
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
  app.addHook('onRequest', requireOrder)
  if (bodies === 'drop') dropBodies(app)
  return app
}

/** Refuses what is not HTTP/1, or names no host, and what came behind a request that was refused as ambiguous. */
function requireOrder(request: FastifyRequest, _reply: FastifyReply, done: () => void): void {
  const { httpVersion, socket, headers } = request.raw
  if (connectionOf(socket).isClosing)
    throw new MetabindError('REQUEST_MALFORMED', 'behind a refused request')
  // The parser takes a target that a bare line feed ends for HTTP/0.9, and reads headers after it.
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    throw new MetabindError('REQUEST_MALFORMED', `HTTP/${httpVersion}`)
  }
  if (hasTooManyHeaders(request.raw)) throw new MetabindError('REQUEST_TOO_LARGE', 'headers')
  if (httpVersion === '1.1' && headers.host === undefined) {
    throw new MetabindError('REQUEST_HEADERS', 'no host')
  }
  // The offer itself may be ignored (RFC 9110, 7.8); but the parser takes the body behind it for a request.
  if (headers.upgrade !== undefined && hasBody(headers)) {
    throw new MetabindError('REQUEST_HEADERS', 'upgrade with a body')
  }
  done()
}

/** Of such a request some may not have been read. */
export function hasTooManyHeaders({ rawHeaders }: IncomingMessage): boolean {
  return rawHeaders.length > 2 * HEADERS_MAX
}

function hasBody(headers: IncomingHttpHeaders): boolean {
  const { 'content-length': length = '0', 'transfer-encoding': coding } = headers
  return Number(length) !== 0 || coding !== undefined
}

/** Eight characters of this process and a counter: unique in the journal of an instance. */
function requestIds(): () => string {
  const process = randomBytes(4).toString('hex')
  let count = 0
  return () => {
    count += 1
    return `${process}-${count.toString(36)}`
  }
}

/** Asks who connected before node:http sees the connection; one that may not stay it never sees. */
export function guardConnections(
  server: HttpServer,
  { requestTimeoutMs }: HttpBounds,
  identify: Identify,
  admission?: Admission | undefined,
): void {
  const [serve] = server.listeners('connection')
  if (serve === undefined) throw new MetabindError('INTERNAL', 'node:http listens otherwise')
  server.removeAllListeners('connection')
  const mayStay = admission === undefined ? () => true : gatekeeper(admission)
  const watch = closeUnread(server, requestTimeoutMs)
  const enter = (socket: Socket) => {
    if (socket.destroyed || !mayStay(socket)) return
    watch(socket)
    Reflect.apply(serve, server, [socket])
  }
  // Who has shut down its own side may still read (RFC 9112, 9.6): node:http would hang up instead.
  Object.assign(server, { httpAllowHalfOpen: true })
  server.on('connection', (socket: Socket) => {
    boundBuffers(socket)
    const identified = identify(socket)
    if (identified === undefined) enter(socket)
    else void enterLater(socket, identified, enter)
  })
}

async function enterLater(
  socket: Socket,
  identified: Promise<void>,
  enter: (socket: Socket) => void,
): Promise<void> {
  const gone = () => socket.destroy()
  socket.once('error', gone)
  // Whatever failed, nobody is remembered as its caller, and each of its requests is refused.
  await identified.catch(() => undefined)
  socket.off('error', gone)
  enter(socket)
}

/** @returns asked once for each connection: whether it may stay; one that may not is told so and closed */
function gatekeeper(admission: Admission): (socket: Socket) => boolean {
  let refusedOpen = 0
  const refuse = (socket: Socket): void => {
    admission.refused('LIMIT_CONNECTIONS', socket)
    if (refusedOpen >= REFUSED_OPEN_MAX) return void socket.destroy()
    refusedOpen += 1
    socket.once('close', () => {
      refusedOpen -= 1
    })
    socket.on('error', () => socket.destroy())
    refuseRaw(socket, 'LIMIT_CONNECTIONS')
    // Closing with the request unread would reset the connection, and the answer with it.
    socket.once('data', () => socket.destroySoon())
    setTimeout(() => socket.destroy(), UNREAD_MS_MAX).unref()
  }
  return (socket) => {
    const holder = [uidOf(socket), sharesOf(socket), isHostRoot(socket)] as const
    if (!admission.admit(...holder)) {
      refuse(socket)
      return false
    }
    socket.once('close', () => admission.leave(...holder))
    return true
  }
}

/** Bodies mean nothing here: a small one is read and dropped, whatever its type says. */
function dropBodies(app: FastifyInstance): void {
  // Nor does what the type says have to be a type: clients send `json`, or nothing.
  app.addHook('onRequest', (request, _reply, done) => {
    if (request.raw.headers['content-type'] !== undefined)
      delete request.raw.headers['content-type']
    done()
  })
  // Of one that nobody reads, as of GET, or behind an early refusal, Node would keep 128 KiB.
  app.server.on('request', (incoming: IncomingMessage) => incoming.resume())
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, _body, done) => {
    done(null, undefined)
  })
}

/** Answers on the bare connection, if no request could be made of what came, and closes it. */
function refuseRaw(socket: Duplex, code: ErrorCode): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const { status, sentence } = ERRORS[code]
  const body = `${code}: ${sentence}`
  const retryAfter = status === 503 ? 'Retry-After: 1\r\n' : ''
  socket.end(
    `HTTP/1.1 ${status} Refused\r\nContent-Type: text/plain; charset=utf-8\r\n${retryAfter}` +
      `Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}
