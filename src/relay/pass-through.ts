import { type Agent, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { Destination } from '../caller/socket-owner.ts'
import { boundBuffers } from '../http/socket-buffers.ts'

/** How requests of one caller's connection reach the metadata service. */
export interface Way {
  readonly to: Destination
  /** One connection to the service for each of a caller's: nobody waits behind somebody else. */
  readonly upstream: Agent
  /** The caller has closed its side. */
  readonly gone: AbortSignal
}

/** Of one connection, not of the message (RFC 9110, 7.6.1), or of trailers, which are not passed on. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'upgrade',
  'te',
  'trailer',
])

/**
 * The same method, target, headers and body: the service judges them itself, forwarding headers too.
 *
 * @throws if Node does not send what it has parsed, such as two Hosts
 */
export function passOn(
  incoming: IncomingMessage,
  response: ServerResponse,
  { to: { address, port }, upstream: agent, gone: signal }: Way,
): void {
  const { method = 'GET', url = '/', rawHeaders } = incoming
  // As an object: an array would be written at once, with a chunked body announced for every PUT.
  const headers = grouped(endToEnd(rawHeaders))
  // A request without a Host stays one.
  const how = { method, path: url, headers, agent, signal, setHost: false }
  const sent = request({ host: address, port, ...how })
  sent.on('socket', (socket) => socket.once('connect', () => boundBuffers(socket)))
  // As if the service itself had gone: no answer is made up for it.
  const giveUp = () => response.destroy()
  sent.on('error', giveUp)
  sent.on('response', (answer) => answerWith(response, answer, giveUp))
  // Without an answer: it broke off, or would speak another protocol (101).
  sent.on('close', () => response.headersSent || giveUp())
  response.on('close', () => sent.destroy())
  sent.useChunkedEncodingByDefault = hasBody(incoming)
  // Now: what Node does not send, it would refuse later, where nobody catches it.
  sent.flushHeaders()
  incoming.pipe(sent)
}

function answerWith(response: ServerResponse, answer: IncomingMessage, giveUp: () => void): void {
  answer.on('error', giveUp)
  try {
    response.writeHead(answer.statusCode ?? 502, endToEnd(answer.rawHeaders))
    answer.pipe(response)
  } catch {
    giveUp()
  }
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined
}

/** Repeated headers stay repeated. */
function grouped(rawHeaders: readonly string[]): Record<string, string | string[]> {
  const found = new Map<string, string | string[]>()
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const [name = '', value = ''] = rawHeaders.slice(at, at + 2)
    const before = found.get(name)
    found.set(name, before === undefined ? value : [before, value].flat())
  }
  return Object.fromEntries(found)
}

function endToEnd(rawHeaders: readonly string[]): string[] {
  return rawHeaders.filter(
    (_, at) => !HOP_BY_HOP.has((rawHeaders[at - (at % 2)] ?? '').toLowerCase()),
  )
}
