import { TLSSocket } from 'node:tls'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ERRORS } from '../error-table.ts'
import { causeChain, MetabindError, outsideCode, RateError } from '../errors.ts'
import { tlsExporter } from '../format/enrolment-bind.ts'
import { asMetabindError } from '../http/error-response.ts'
import { httpServer } from '../http/server.ts'
import type { Log } from '../log.ts'
import { remembered } from '../remembered.ts'
import { clientAddress, type TakeOfAddress } from './client-address.ts'
import { type PublicDocument, pathOf, TOKEN_PATH } from './discovery.ts'
import type { DpopNonces } from './dpop-nonce.ts'
import type { Enrolment } from './enrolment.ts'
import type { RegistrarConfig } from './registrar-config.ts'
import type { RegistrarTls } from './tls.ts'
import { type ExchangedToken, type ExchangeRequest, oauthError } from './token-exchange.ts'

export interface RegistrarServerDeps {
  readonly url: string
  readonly listen: RegistrarConfig['listen']
  /** Undefined: TLS ends before it. */
  readonly tls: RegistrarTls | undefined
  readonly limits: RegistrarConfig['limits']
  readonly enrolment: Enrolment
  /** The token endpoint. */
  readonly exchange: (request: ExchangeRequest) => Promise<ExchangedToken>
  readonly nonces: DpopNonces
  readonly documents: readonly PublicDocument[]
  readonly takeOf: TakeOfAddress
  readonly log: Log
}

// Proxies keep a connection longer than most.
const IDLE_MS_MAX = 75_000
const HEADER_BYTES_MAX = 16_384
/** Of what is no evidence. */
const BODY_BYTES_MAX = 32_768

/** What instances and verifiers ask of the registrar, over HTTP. */
export function registrarServer(deps: RegistrarServerDeps): FastifyInstance {
  const { limits, enrolment } = deps
  const proxies = new Set(deps.listen.trusted_proxies)
  const addressOf = (request: FastifyRequest) => clientAddress(request.raw, proxies)
  const app = httpServer(
    {
      connections: limits.connections,
      headerBytesMax: HEADER_BYTES_MAX,
      bodyBytesMax: BODY_BYTES_MAX,
      requestTimeoutMs: limits.request_timeout_ms,
      idleTimeoutMs: IDLE_MS_MAX,
    },
    'json',
    undefined,
    // Over TCP the kernel names nobody.
    () => undefined,
    undefined,
    deps.tls?.makeServer,
  )
  takeBytes(app)
  app.addHook('onRequest', (request, _reply, done) => {
    const address = addressOf(request)
    const waitSeconds = deps.takeOf(address)
    if (waitSeconds > 0) throw new RateError(waitSeconds, address)
    done()
  })
  const at = (path: string) => `${pathOf(deps.url)}${path}`
  app.get('/healthz', (_request, reply) => json(reply, 200, { status: 'ok' }))
  const exporterOf = (request: FastifyRequest) =>
    deps.tls === undefined ? undefined : exporterOfTls(request)
  app.get(at('/enrol/nonce'), (request, reply) =>
    json(reply, 200, enrolment.nonce(exporterOf(request))),
  )
  app.post(
    at('/enrol/challenge'),
    { bodyLimit: limits.evidence_bytes_max },
    async (request, reply) => {
      const [address, exporter] = [addressOf(request), exporterOf(request)]
      return json(reply, 200, await enrolment.challenge(bytesOf(request), address, exporter))
    },
  )
  app.post(at('/enrol'), async (request, reply) => {
    const { status, body } = await enrolment.enrol(bytesOf(request), addressOf(request))
    return json(reply, status, body)
  })
  app.post(at(TOKEN_PATH), async (request, reply) => {
    // RFC 9449, 8.2: with each answer there is a nonce for the next proof.
    reply.header('dpop-nonce', deps.nonces.make(Date.now()))
    const proofs = request.raw.headersDistinct.dpop ?? []
    const given = await deps.exchange({ form: bytesOf(request).toString('latin1'), proofs })
    return json(reply, 200, given)
  })
  serveDocuments(app, deps)
  answerErrors(app, deps, addressOf, at(TOKEN_PATH))
  return app
}

/** @throws MetabindError ENROL_CHANNEL if the connection has none: evidence that binds none is not let pass for that */
function exporterOfTls({ raw: { socket } }: FastifyRequest): Buffer {
  const exporter = socket instanceof TLSSocket ? tlsExporter(socket) : undefined
  if (exporter === undefined) throw new MetabindError('ENROL_CHANNEL')
  return exporter
}

/** What is the same for everybody. */
function serveDocuments(app: FastifyInstance, { documents }: RegistrarServerDeps): void {
  const jsonOf = remembered((value: object) => JSON.stringify(value))
  for (const { path, content, type, maxAgeSeconds } of documents) {
    app.get(path, (_request, reply) => {
      const made = content()
      const text = typeof made === 'string' ? made : jsonOf(made)
      return answer(reply, 200, text, { type, cacheControl: `public, max-age=${maxAgeSeconds}` })
    })
  }
}

/** Each route reads its own bytes, strictly: a parser before it would take the last of two members. */
function takeBytes(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  for (const type of ['application/json', 'application/x-www-form-urlencoded']) {
    app.addContentTypeParser(type, { parseAs: 'buffer' }, (_request, body, done) => {
      done(null, body)
    })
  }
}

function bytesOf({ body }: FastifyRequest): Buffer {
  return Buffer.isBuffer(body) ? body : Buffer.alloc(0)
}

function json(reply: FastifyReply, status: number, body: object | string): FastifyReply {
  return answer(reply, status, body, { type: 'application/json', cacheControl: 'no-store' })
}

function answer(
  reply: FastifyReply,
  status: number,
  body: object | string,
  { type, cacheControl }: { readonly type: string; readonly cacheControl: string },
): FastifyReply {
  return reply
    .code(status)
    .type(type)
    .header('cache-control', cacheControl)
    .send(typeof body === 'string' ? body : JSON.stringify(body))
}

/** A refusal is one line in the log, with its cause; outside it is a code and a sentence. */
function answerErrors(
  app: FastifyInstance,
  { log }: RegistrarServerDeps,
  addressOf: (request: FastifyRequest) => string,
  tokenPath: string,
): void {
  app.setNotFoundHandler(() => {
    throw new MetabindError('REGISTRAR_ABSENT')
  })
  app.setErrorHandler((error, request, reply) => {
    const known = asMetabindError(error)
    const code = outsideCode(known.code)
    const { status, sentence } = ERRORS[code]
    const line = { id: request.id, code: known.code, source: addressOf(request) }
    log[status < 500 ? 'info' : 'error']({ ...line, cause: causeChain(known) }, 'refused')
    if (known instanceof RateError) reply.header('retry-after', String(known.retryAfterSeconds))
    else if (status === 503) reply.header('retry-after', '5')
    // Clients of OAuth know its words alone, and 400 for all that is not a time to wait.
    if (request.url !== tokenPath || status === 429 || status >= 500) {
      return json(reply, status, { error: code, message: sentence, id: request.id })
    }
    const said = { error: oauthError(code), error_description: `${code}: ${sentence}` }
    return json(reply, 400, { ...said, id: request.id })
  })
}
