import type { FastifyInstance, FastifyReply } from 'fastify'
import { z } from 'zod'
import { ERRORS } from '../error-table.ts'
import { causeChain, type ErrorCode, MetabindError, outsideCode, RateError } from '../errors.ts'
import { asMetabindError } from '../http/error-response.ts'
import { closeGracefully } from '../http/graceful-close.ts'
import { listenAt } from '../http/listen.ts'
import type { Listener } from '../http/listen-tcp.ts'
import { httpServer } from '../http/server.ts'
import { shareRate } from '../http/shared-rate.ts'
import type { Log } from '../log.ts'
import type { Repository } from '../registrar-repository/repository.ts'
import type { RegistrarConfig } from './registrar-config.ts'

/** What the API reads of what the registrar keeps: nothing of it is secret. */
type ReadableRepository = Pick<
  Repository,
  'instances' | 'instance' | 'uses' | 'events' | 'checkpoints' | 'lastCheckpoint'
>

interface ReadApiDeps {
  readonly repository: ReadableRepository
  readonly requestTimeoutMs: number
  readonly log: Log
}

/** Who may open the socket, its group decides; what is read changes nothing. */
const SOCKET_MODE = 0o660
/** Of all who may open it: nobody is told apart here, as a sandbox with users of its own sees one user. */
const ASKED = { perSecond: 20, burst: 100 }
const BOUNDS = { connections: 16, headerBytesMax: 16_384, bodyBytesMax: 1024 }
const IDLE_MS_MAX = 75_000
const COUNT_DEFAULT = 100
const COUNT_MAX = 500
const IID = /^[0-9a-f]{32}$/

/**
 * Serves what administrators read (docs/fleet-operations.md) on a Unix socket.
 *
 * @returns what closes it; undefined if none is configured
 * @throws MetabindError LISTEN_FAILED
 */
export async function serveReadApi(
  { socket }: RegistrarConfig['api'],
  deps: ReadApiDeps,
): Promise<Listener['close'] | undefined> {
  if (socket === undefined) return undefined
  const app = readApi(deps)
  await listenAt(app, { path: socket, mode: SOCKET_MODE, descriptor: undefined })
  return () => closeGracefully(app)
}

function readApi({ repository, requestTimeoutMs, log }: ReadApiDeps): FastifyInstance {
  const bounds = { ...BOUNDS, requestTimeoutMs, idleTimeoutMs: IDLE_MS_MAX }
  const app = httpServer(bounds, 'drop', undefined, () => undefined)
  shareRate(app, 'api', ASKED, () => performance.now())
  app.get('/instances', async ({ query }, reply) => {
    const { after = '', count } = queryOf(instancesQuery, query)
    const instances = await repository.instances(after, count)
    const next = instances.length < count ? undefined : instances.at(-1)?.iid
    return sent(reply, JSON.stringify({ instances, next }))
  })
  app.get('/instances/:iid', async ({ params }, reply) => {
    const { iid } = z.object({ iid: z.string() }).parse(params)
    const instance = IID.test(iid) ? await repository.instance(iid) : undefined
    if (instance === undefined) throw new MetabindError('ENROL_UNKNOWN')
    return sent(reply, JSON.stringify({ ...instance, uses: await repository.uses(iid) }))
  })
  app.get('/events', async ({ query }, reply) => {
    const { after = 0, count } = queryOf(eventsQuery, query)
    const lines = await repository.events(after, count)
    const next = lines.length < count ? '' : `,"next":${after + lines.length}`
    // As they are, byte by byte: their hashes are of that.
    return sent(reply, `{"events":[${lines.join(',')}]${next}}`)
  })
  app.get('/checkpoints', async ({ query }, reply) => {
    const { after = 0, count } = queryOf(eventsQuery, query)
    const found = await repository.checkpoints(after, count)
    const next = found.length < count ? undefined : found.at(-1)?.number
    return sent(reply, JSON.stringify({ checkpoints: found.map(({ jws }) => jws), next }))
  })
  app.get('/checkpoint', async (_request, reply) => {
    const last = await repository.lastCheckpoint()
    if (last === undefined) throw new MetabindError('REGISTRAR_ABSENT')
    return sent(reply, JSON.stringify({ checkpoint: last.jws }))
  })
  answerRefusals(app, log)
  return app
}

const count = z
  .string()
  .regex(/^[1-9][0-9]{0,2}$/)
  .transform(Number)
  .refine((number) => number <= COUNT_MAX)
  .default(COUNT_DEFAULT)
const instancesQuery = z.strictObject({ after: z.string().regex(IID).optional(), count })
const eventsQuery = z.strictObject({
  after: z
    .string()
    .regex(/^(?:0|[1-9][0-9]{0,14})$/)
    .transform(Number)
    .optional(),
  count,
})

/** @throws MetabindError REGISTRAR_QUERY: one that is misspelt would be another page than was meant */
function queryOf<Query>(schema: z.ZodType<Query>, given: unknown): Query {
  const parsed = schema.safeParse(given)
  if (parsed.success) return parsed.data
  throw new MetabindError('REGISTRAR_QUERY')
}

function sent(reply: FastifyReply, body: string): FastifyReply {
  return reply.type('application/json').header('cache-control', 'no-store').send(body)
}

/** Here it is a thing that is not there, and not somebody who may not enter. */
const STATUSES: Readonly<Partial<Record<ErrorCode, number>>> = { ENROL_UNKNOWN: 404 }

function answerRefusals(app: FastifyInstance, log: Log): void {
  app.setNotFoundHandler(() => {
    throw new MetabindError('REGISTRAR_ABSENT')
  })
  app.setErrorHandler((error, request, reply) => {
    const known = asMetabindError(error)
    const code = outsideCode(known.code)
    const status = STATUSES[code] ?? ERRORS[code].status
    if (status >= 500) {
      log.error({ id: request.id, code: known.code, cause: causeChain(known) }, 'api refused')
    }
    if (known instanceof RateError) reply.header('retry-after', String(known.retryAfterSeconds))
    const { sentence: message } = ERRORS[code]
    return sent(reply.code(status), JSON.stringify({ error: code, message, id: request.id }))
  })
}
