import { Agent, type IncomingHttpHeaders, request } from 'node:http'
import { buffer } from 'node:stream/consumers'
import { aliyun } from '../../src/dialect/aliyun.ts'

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** A caller of an agent's socket, with one token and as many connections as it needs at once. */
export interface Client {
  ask(method: string, path: string, headers?: Record<string, string>): Promise<Answer>
  get(path: string, headers?: Record<string, string>): Promise<Answer>
  close(): void
}

/** Makes a token and reads with it. */
export async function clientOf(socketPath: string): Promise<Client> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1000 })
  const ask = (method: string, path: string, headers: Record<string, string> = {}) =>
    new Promise<Answer>((resolve, reject) => {
      const sent = request({ socketPath, method, path, headers, agent }, (incoming) => {
        buffer(incoming).then((body) => {
          const { statusCode: status = 0, headers: received } = incoming
          resolve({ status, headers: received, body: body.toString() })
        }, reject)
      })
      sent.on('error', reject)
      sent.end()
    })
  const token = await ask('PUT', aliyun.tokenPath, { [aliyun.ttlHeader]: '3600' })
  const tokened = (method: string, path: string, headers: Record<string, string> = {}) =>
    ask(method, path, { [aliyun.tokenHeader]: token.body, ...headers })
  return {
    ask: tokened,
    get: (path, headers) => tokened('GET', path, headers),
    close: () => agent.destroy(),
  }
}
