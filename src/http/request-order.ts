import type { IncomingMessage } from 'node:http'
import { connectionOf } from '../caller/connection.ts'
import { MetabindError } from '../errors.ts'

/** Headers of a request. Each takes ten times of the heap what it is long, if it is short. */
const HEADERS_MAX = 64
/** Node hands over 32 at a time. */
export const HEADERS_READ_MAX = HEADERS_MAX + 32

/** What the headers of a request say of whom it asks and where it ends. */
export interface Framing {
  hasHost: boolean
  hasUpgrade: boolean
  /** Whether a body follows them (RFC 9112, 6.3). */
  hasBody: boolean
}

/**
 * Notes what one header says of it. To have Node take all of them apart costs more than the rest of what is asked of
 * a request, so they are gone through once, as they came.
 *
 * @param name in small letters
 */
export function noteFraming(framing: Framing, name: string, value: string): void {
  if (name === 'host') framing.hasHost = true
  else if (name === 'upgrade') framing.hasUpgrade = true
  else if (name === 'transfer-encoding') framing.hasBody = true
  else if (name === 'content-length' && Number(value) !== 0) framing.hasBody = true
}

/** @param rawHeaders name, value, name, value… */
export function framingOf(rawHeaders: readonly string[]): Framing {
  const framing: Framing = { hasHost: false, hasUpgrade: false, hasBody: false }
  for (let at = 0; at < rawHeaders.length; at += 2) {
    noteFraming(framing, (rawHeaders[at] ?? '').toLowerCase(), rawHeaders[at + 1] ?? '')
  }
  return framing
}

/** Refuses what is not HTTP/1, or names no host, and what came behind a request that was refused as ambiguous. @throws MetabindError REQUEST_… */
export function requireOrder(incoming: IncomingMessage, framing: Framing): void {
  const { httpVersion, socket } = incoming
  if (connectionOf(socket).isClosing) {
    throw new MetabindError('REQUEST_MALFORMED', 'behind a refused request')
  }
  // The parser takes a target that a bare line feed ends for HTTP/0.9, and reads headers after it.
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    throw new MetabindError('REQUEST_MALFORMED', `HTTP/${httpVersion}`)
  }
  if (hasTooManyHeaders(incoming)) throw new MetabindError('REQUEST_TOO_LARGE', 'headers')
  if (httpVersion === '1.1' && !framing.hasHost) {
    throw new MetabindError('REQUEST_HEADERS', 'no host')
  }
  // The offer itself may be ignored (RFC 9110, 7.8); but the parser takes the body behind it for a request.
  if (framing.hasUpgrade && framing.hasBody) {
    throw new MetabindError('REQUEST_HEADERS', 'upgrade with a body')
  }
}

/** Of such a request some may not have been read. */
export function hasTooManyHeaders({ rawHeaders }: IncomingMessage): boolean {
  return rawHeaders.length > 2 * HEADERS_MAX
}
