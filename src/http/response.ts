import type { FastifyReply } from 'fastify'
import { connectionOf } from '../caller/connection.ts'

/** An answer before it is sent. */
export interface HttpResponse {
  readonly status: number
  /** Names in small letters. The length of the body is added when it is sent. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Buffer
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
  if (headers.connection === 'close') connectionOf(reply.request.raw.socket).isClosing = true
  reply.code(status).headers(headers).send(body)
}
