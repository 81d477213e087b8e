import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { text } from 'node:stream/consumers'
import { type ConnectionOptions, TLSSocket } from 'node:tls'
import { ADMIN_CALLS } from '../../src/admin-api.ts'
import { callAdmin } from '../../src/admin-client.ts'
import { enrolmentBind, tlsExporter } from '../../src/format/enrolment-bind.ts'
import type { Instance } from '../harness/instance.ts'
import { evidenceOf, ownKeysOf, type Replied } from './enrolling.ts'

/** One connection over TLS that is kept, as an instance has it to a registrar in which TLS ends. */
export interface TlsConnection extends Disposable {
  readonly get: (path: string) => Promise<Replied>
  readonly post: (path: string, body: unknown) => Promise<Replied>
  /** Of the connection on which the last answer came. */
  socket(): TLSSocket
}

/** @param options whom to trust, and which versions */
export function tlsConnection(port: number, options: ConnectionOptions): TlsConnection {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const name = 'registrar.example'
  const to = { host: '127.0.0.1', port, servername: name, headers: { host: name } }
  let socket: TLSSocket | undefined
  const ask = async (method: string, path: string, body?: string): Promise<Replied> => {
    const headers = { ...to.headers, 'content-type': 'application/json' }
    const asked = request({ ...options, ...to, agent, method, path, headers })
    asked.end(body)
    const [response]: IncomingMessage[] = await once(asked, 'response')
    if (!(response?.socket instanceof TLSSocket)) throw new Error('no TLS')
    socket = response.socket
    return { status: response.statusCode ?? 0, body: JSON.parse(await text(response)) }
  }
  return {
    get: (path) => ask('GET', path),
    post: (path, body) => ask('POST', path, JSON.stringify(body)),
    socket: () => {
      if (socket === undefined) throw new Error('nothing was asked')
      return socket
    },
    [Symbol.dispose]: () => agent.destroy(),
  }
}

/**
 * Both round trips as an instance makes them.
 *
 * @param exporter what it binds; that of its own connection if there is none, and nothing if it is undefined
 */
export async function enrolOver(
  instance: Instance,
  connection: TlsConnection,
  url: string,
  { exporter }: { readonly exporter: Buffer | undefined } = {
    exporter: tlsExporter(connection.socket()),
  },
): Promise<Replied> {
  const { body } = await connection.get('/enrol/nonce')
  const shown = { url, ...(await ownKeysOf(instance)), generation: 0, exporter }
  const bind = enrolmentBind(shown).toString('hex')
  const evidence = await evidenceOf(instance, String(body.nonce), bind)
  const challenged = await connection.post('/enrol/challenge', { evidence })
  if (challenged.status !== 200) return challenged
  const sockets = { metadata: instance.metadataSocket, admin: instance.adminSocket }
  const challenge = JSON.stringify(challenged.body.challenge)
  const answer = await callAdmin(sockets, ADMIN_CALLS.activate, { challenge })
  return connection.post('/enrol', { answer })
}
