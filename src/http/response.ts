import type { Socket } from 'node:net'
import type { FastifyReply } from 'fastify'

/** An answer before it is sent. */
export interface HttpResponse {
  readonly status: number
  /** Names in small letters. The length of the body is added when it is sent. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Buffer
}

// What was sent behind a request whose answer ends the connection may have been read already; it is not carried out.
const closing = new WeakSet<Socket>()

/** Whether an earlier request on this connection was refused with its end. */
export function isClosing(socket: Socket): boolean {
  return closing.has(socket)
}

/** Sends an answer, or waits for it first. */
export function sendResponse(
  reply: FastifyReply,
  response: HttpResponse | Promise<HttpResponse>,
): void | Promise<void> {
  if (response instanceof Promise) return response.then((ready) => sendNow(reply, ready))
  sendNow(reply, response)
}

// Returns nothing: fastify would wait for the reply, which is thenable, until it has been sent.
function sendNow(reply: FastifyReply, { status, headers, body }: HttpResponse): void {
  if (headers.connection === 'close') closing.add(reply.request.raw.socket)
  reply.code(status).headers(headers).send(body)
}
