import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { type Connection, connectionOf, whenClosed } from '../caller/connection.ts'
import { MetabindError } from '../errors.ts'
import { openCounts } from '../open-counts.ts'

/** Requests of one connection that may wait for their answers together. */
export const UNDER_WAY_MAX = 16
/** Requests behind another of their connection that is not answered yet: of one user, and of all. */
export const AHEAD_PER_UID_MAX = 128
export const AHEAD_MAX = 512

/** What llhttp takes from its caller after headers: what comes behind them is another protocol. */
const HEADERS_END_HTTP = 2

/** Over all connections of the process, since its memory is one. A client that sends nothing ahead is not in here. */
const ahead = { ofAll: 0, ofUid: openCounts<number | undefined>() }

/**
 * Hands a server's requests on only if they may begin, whoever would answer them: node:http answers some by
 * itself, and fastify some before its hooks. Each that was parsed is counted.
 */
export function guardRequests(server: Server): void {
  wrapRequestListener(server, (serve) => (incoming, response) => {
    if (begin(incoming.socket, response)) serve(incoming, response)
  })
  server.on('checkContinue', (incoming, response) => {
    if (hasRoom(askingOn(incoming.socket))) response.writeContinue()
    server.emit('request', incoming, response)
  })
  // Anything else that is expected may be ignored (RFC 9110, 10.1.1).
  server.on('checkExpectation', (incoming, response) => server.emit('request', incoming, response))
}

type RequestListener = (incoming: IncomingMessage, response: ServerResponse) => void

/** Puts a listener in the place of a server's one. Emitting to two costs each request a copy of their list. */
export function wrapRequestListener(
  server: Server,
  wrap: (serve: RequestListener) => RequestListener,
): void {
  const [serve] = server.listeners('request')
  if (serve === undefined) throw new MetabindError('INTERNAL', 'nobody answers requests')
  server.removeAllListeners('request')
  server.on(
    'request',
    wrap((...both) => Reflect.apply(serve, server, both)),
  )
}

/**
 * Counts a request, or closes its connection if too many are not answered. node:http begins whatever it
 * has read, thousands of requests in one turn of the event loop, and reads on until answers pile up:
 * behind answers that are made to wait, or that nobody reads, one connection could fill the memory.
 */
function begin(socket: Socket, response: ServerResponse): boolean {
  const own = askingOn(socket)
  if (socket.destroyed || !hasRoom(own)) {
    socket.destroy()
    stopParsing(socket)
    return false
  }
  own.requestsUnderWay += 1
  own.quietMs = undefined
  if (own.requestsUnderWay > 1) countAhead(own.uid)
  response.on('close', end)
  return true
}

/** Counts a request back, as the one listener of all responses. */
function end(this: ServerResponse): void {
  const { socket } = this.req
  const own = askingOn(socket)
  // Those of a closed connection have been counted back together.
  if (own.requestsUnderWay > 0) own.requestsUnderWay -= 1
  if (own.requestsUnderWay > 0) countBack(own.uid, 1)
  else own.readBytesAtRest = socket.bytesRead
}

/**
 * What was read is parsed to its end otherwise, closed or not: in one turn of the event loop some hundred
 * connections become hundreds of thousands of requests, which are held until the turn is over.
 */
function stopParsing(socket: Socket): void {
  // Node's types leave it out, and its pause() takes effect after all that was read.
  const { parser } = socket as Socket & { readonly parser?: { onIncoming?: () => number } | null }
  if (parser?.onIncoming) parser.onIncoming = () => HEADERS_END_HTTP
}

function hasRoom({ requestsUnderWay, uid }: Asking): boolean {
  if (requestsUnderWay === 0) return true
  return (
    requestsUnderWay < UNDER_WAY_MAX &&
    ahead.ofAll < AHEAD_MAX &&
    ahead.ofUid.of(uid) < AHEAD_PER_UID_MAX
  )
}

/** A connection on which requests have come. */
type Asking = Connection & { requestsUnderWay: number }

function askingOn(socket: Socket): Asking {
  const own = connectionOf(socket)
  if (hasAsked(own)) return own
  const asking = Object.assign(own, { requestsUnderWay: 0 })
  whenClosed(socket, () => {
    if (asking.requestsUnderWay > 1) countBack(asking.uid, asking.requestsUnderWay - 1)
    asking.requestsUnderWay = 0
  })
  return asking
}

function hasAsked(connection: Connection): connection is Asking {
  return connection.requestsUnderWay !== undefined
}

function countAhead(uid: number | undefined): void {
  ahead.ofAll += 1
  ahead.ofUid.add(uid, 1)
}

function countBack(uid: number | undefined, count: number): void {
  ahead.ofAll -= count
  ahead.ofUid.remove(uid, count)
}
