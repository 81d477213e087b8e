import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { z } from 'zod'
import { ADMIN_CALLS } from '../admin-api.ts'
import { callAdmin } from '../admin-client.ts'
import { ask, type Sockets } from '../agent-socket.ts'
import { ERRORS } from '../error-table.ts'
import { MetabindError } from '../errors.ts'
import { UI_HEADERS, UI_PATHS, UI_SERVER_HEADER } from '../ui-paths.ts'
import type { PageAccess } from './ui-access.ts'
import { jsonIn, keysIn, type PageOrigin, pageOrigin, requireOwnOrigin } from './ui-request.ts'

/** The status page on loopback. */
export interface UiServer {
  /** With the token of the link behind `#`: a browser sends that to nobody. */
  readonly url: string
  /** Rejects if the link was opened by two. Never resolves. */
  readonly stolen: Promise<never>
  close(): void
}

/** What the page is served with. */
export interface UiServerOptions {
  readonly sockets: Sockets
  readonly access: PageAccess
  /** 0: any that is free. */
  readonly port: number
  /** How long the cookie may live. */
  readonly pageSeconds: number
}

/** Of all users at once. */
const CONNECTIONS_MAX = 64
const STREAMS_MAX = 4
const REQUEST_MS_MAX = 5000
const HEADER_BYTES_MAX = 8192

const redeemRequest = z.strictObject({ token: z.string().max(64) })
const acknowledgeRequest = ADMIN_CALLS.acknowledge.request

interface Serving extends UiServerOptions {
  readonly origin: PageOrigin
  readonly files: ReadonlyMap<string, PageFile>
  readonly onStolen: (why: MetabindError) => void
  streams: number
}

type PageFile = { readonly type: string; readonly body: Buffer }

/**
 * Serves the page on 127.0.0.1, in this process: the agent has no port for it. The files of the page are the same for
 * everybody; what the agent knows goes to who has both keys. Nothing of a request is passed on to the agent but the
 * number of a row or an alarm.
 *
 * @throws MetabindError LISTEN_FAILED, SOCKET_… if no agent answers
 */
export async function startUiServer(options: UiServerOptions): Promise<UiServer> {
  const files = await readFiles(options.sockets)
  const stolen = Promise.withResolvers<never>()
  const server = createServer({
    maxHeaderSize: HEADER_BYTES_MAX,
    requestTimeout: REQUEST_MS_MAX,
    headersTimeout: REQUEST_MS_MAX,
    connectionsCheckingInterval: 1000,
  })
  server.maxConnections = CONNECTIONS_MAX
  const port = await listen(server, options.port)
  // Native code, without which every help is to be had.
  const { connectionsOfUsers } = await import('./ui-connections.ts')
  const mayStay = connectionsOfUsers({ address: '127.0.0.1', port })
  server.on('connection', (socket) => {
    if (!mayStay(socket)) socket.destroy()
  })
  const origin = pageOrigin(port)
  const serving = { ...options, origin, files, onStolen: stolen.reject, streams: 0 }
  server.on('request', (incoming, response) => void answer(serving, incoming, response))
  return {
    url: `http://${origin.host}${UI_PATHS.page}#${options.access.linkToken}`,
    stolen: stolen.promise,
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

/** Once: whoever else asks for them costs the agent nothing. */
async function readFiles(sockets: Sockets): Promise<Map<string, PageFile>> {
  const files = new Map<string, PageFile>()
  for (const [path, type] of [
    [UI_PATHS.page, 'text/html; charset=utf-8'],
    [UI_PATHS.script, 'text/javascript; charset=utf-8'],
    [UI_PATHS.style, 'text/css; charset=utf-8'],
  ] as const) {
    const { body } = await ask(sockets.admin, { method: 'GET', path })
    files.set(path, { type, body })
  }
  return files
}

async function listen(server: Server, port: number): Promise<number> {
  try {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  } catch (error) {
    throw new MetabindError('UI_PORT', `127.0.0.1:${port}`, error)
  }
  // What listens on TCP has an address of this kind.
  return (server.address() as AddressInfo).port
}

async function answer(
  serving: Serving,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    requireOwnOrigin(incoming, serving.origin)
    await respond(serving, incoming, response)
  } catch (error) {
    const { code } = error instanceof MetabindError ? error : new MetabindError('INTERNAL')
    if (response.headersSent) response.destroy()
    else
      send(
        response,
        'text/plain; charset=utf-8',
        `${code}: ${ERRORS[code].sentence}`,
        ERRORS[code].status,
      )
  }
}

async function respond(
  serving: Serving,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { method, url = '' } = incoming
  const file = method === 'GET' ? serving.files.get(url) : undefined
  if (file !== undefined) return send(response, file.type, file.body)
  if (method === 'POST' && url === UI_PATHS.session) return openSession(serving, incoming, response)
  const { cookie, key } = keysIn(incoming, serving.origin)
  if (!serving.access.admits(cookie, key)) throw new MetabindError('UI_KEY')
  if (method === 'GET' && url === UI_PATHS.events) return relayEvents(serving, response)
  if (method === 'GET' && isExplain(url)) return relayExplanation(serving, url, response)
  if (method === 'POST' && url === UI_PATHS.acknowledge) {
    return acknowledge(serving, incoming, response)
  }
  throw new MetabindError('ADMIN_ABSENT')
}

function isExplain(url: string): boolean {
  return (
    url.startsWith(UI_PATHS.explain) && /^[1-9][0-9]{0,8}$/.test(url.slice(UI_PATHS.explain.length))
  )
}

async function openSession(
  { access, origin, pageSeconds, onStolen }: Serving,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const asked = redeemRequest.safeParse(await jsonIn(incoming))
  if (!asked.success) throw new MetabindError('ADMIN_REQUEST')
  const keys = access.redeem(asked.data.token, keysIn(incoming, origin).cookie)
  // Whoever opens it second is told so first.
  const why = new MetabindError('UI_LINK', 'It was opened twice, by two.')
  if (keys === 'twice') response.once('close', () => onStolen(why))
  if (typeof keys === 'string') throw new MetabindError('UI_LINK')
  // Not __Host-, which wants Secure and so TLS: not every browser takes it for loopback without.
  const attributes = `HttpOnly; SameSite=Strict; Path=${UI_PATHS.page}; Max-Age=${pageSeconds}`
  response.setHeader('set-cookie', `${origin.cookieName}=${keys.cookie}; ${attributes}`)
  response.setHeader(UI_SERVER_HEADER, keys.server)
  send(response, 'text/plain; charset=utf-8', keys.key)
}

/** The agent's stream as it comes; it reads no faster than the browser does. */
function relayEvents(serving: Serving, response: ServerResponse): void {
  if (serving.streams >= STREAMS_MAX) throw new MetabindError('LIMIT_CONNECTIONS')
  serving.streams += 1
  const socketPath = serving.sockets.admin
  const upstream = request({ socketPath, path: UI_PATHS.events, agent: false }, (events) => {
    if (events.statusCode !== 200) return void response.destroy()
    response.setHeader(UI_SERVER_HEADER, serving.access.serverSecret() ?? '')
    response.writeHead(200, { ...UI_HEADERS, 'content-type': 'text/event-stream; charset=utf-8' })
    events.on('error', () => response.destroy())
    events.pipe(response)
  })
  upstream.on('error', () => response.destroy())
  upstream.end()
  response.once('close', () => {
    serving.streams -= 1
    upstream.destroy()
  })
}

async function relayExplanation(
  { sockets }: Serving,
  path: string,
  response: ServerResponse,
): Promise<void> {
  const { body } = await ask(sockets.admin, { method: 'GET', path })
  send(response, 'application/json; charset=utf-8', body)
}

async function acknowledge(
  { sockets }: Serving,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const asked = acknowledgeRequest.safeParse(await jsonIn(incoming))
  if (!asked.success) throw new MetabindError('ADMIN_REQUEST')
  const done = await callAdmin(sockets, ADMIN_CALLS.acknowledge, asked.data)
  send(response, 'application/json; charset=utf-8', JSON.stringify(done))
}

function send(response: ServerResponse, type: string, body: string | Buffer, status = 200): void {
  response.writeHead(status, {
    ...UI_HEADERS,
    'content-type': type,
    'content-length': Buffer.byteLength(body),
  })
  response.end(body)
}
