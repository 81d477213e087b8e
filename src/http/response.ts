import type { ServerResponse } from 'node:http'
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

// A text goes out together with the headers, in one write. Beyond this copying it costs more than another write.
const ONE_WRITE_BYTES_MAX = 16_384

/** Sends an answer on a bare node:http response, or waits for it first. */
export function sendBare(
  response: ServerResponse,
  answer: HttpResponse | Promise<HttpResponse>,
): void {
  if (answer instanceof Promise) {
    answer.then(
      (ready) => sendBareNow(response, ready),
      () => response.destroy(),
    )
  } else sendBareNow(response, answer)
}

function sendBareNow(response: ServerResponse, { status, headers, body }: HttpResponse): void {
  if (response.destroyed) return
  if (headers.connection === 'close') connectionOf(response.req.socket).isClosing = true
  const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length
  response.writeHead(status, { ...headers, 'content-length': length })
  // Latin-1 is each byte as it is, whatever the bytes mean.
  if (typeof body === 'string' || length > ONE_WRITE_BYTES_MAX) response.end(body)
  else response.end(body.toString('latin1'), 'latin1')
}
