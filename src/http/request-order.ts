import type { IncomingMessage } from 'node:http'
import { connectionOf } from '../caller/connection.ts'
import { MetabindError } from '../errors.ts'

/** Headers of a request. Each takes ten times of the heap what it is long, if it is short. */
const HEADERS_MAX = 64
/** Node hands over 32 at a time. */
export const HEADERS_READ_MAX = HEADERS_MAX + 32

const NONE: readonly string[] = []

/** Refuses what is not HTTP/1, or names no host, and what came behind a request that was refused as ambiguous. @throws MetabindError REQUEST_… */
export function requireOrder(incoming: IncomingMessage): void {
  const { httpVersion, socket, rawHeaders } = incoming
  if (connectionOf(socket).isClosing) {
    throw new MetabindError('REQUEST_MALFORMED', 'behind a refused request')
  }
  // The parser takes a target that a bare line feed ends for HTTP/0.9, and reads headers after it.
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    throw new MetabindError('REQUEST_MALFORMED', `HTTP/${httpVersion}`)
  }
  if (hasTooManyHeaders(incoming)) throw new MetabindError('REQUEST_TOO_LARGE', 'headers')
  if (httpVersion === '1.1' && headersOf(rawHeaders, 'host').length === 0) {
    throw new MetabindError('REQUEST_HEADERS', 'no host')
  }
  // The offer itself may be ignored (RFC 9110, 7.8); but the parser takes the body behind it for a request.
  if (headersOf(rawHeaders, 'upgrade').length > 0 && hasBody(rawHeaders)) {
    throw new MetabindError('REQUEST_HEADERS', 'upgrade with a body')
  }
}

/** Of such a request some may not have been read. */
export function hasTooManyHeaders({ rawHeaders }: IncomingMessage): boolean {
  return rawHeaders.length > 2 * HEADERS_MAX
}

/** Whether a body follows the headers of a request (RFC 9112, 6.3). */
export function hasBody(rawHeaders: readonly string[]): boolean {
  const length = headersOf(rawHeaders, 'content-length')[0] ?? '0'
  return Number(length) !== 0 || headersOf(rawHeaders, 'transfer-encoding').length > 0
}

/**
 * The values of a header, each as it came. To have Node take all of them apart costs more than the rest of what
 * is asked of a request.
 *
 * @param rawHeaders name, value, name, value…
 * @param name in small letters
 */
export function headersOf(rawHeaders: readonly string[], name: string): readonly string[] {
  let values = NONE
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const raw = rawHeaders[at]
    if (raw?.length !== name.length || raw.toLowerCase() !== name) continue
    values = [...values, rawHeaders[at + 1] ?? '']
  }
  return values
}
