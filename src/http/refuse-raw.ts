import type { Duplex } from 'node:stream'
import { ERRORS } from '../error-table.ts'
import type { ErrorCode } from '../errors.ts'

/** How long a refused connection may take to send the request that is not answered. */
export const UNREAD_MS_MAX = 100
/** Answers on the bare connection, if no request could be made of what came, and closes it. */
export function refuseRaw(socket: Duplex, code: ErrorCode): void {
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
