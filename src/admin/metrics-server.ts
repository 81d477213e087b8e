import type { FastifyInstance } from 'fastify'
import { type MetabindError, RateError } from '../errors.ts'
import { type HttpBounds, httpServer } from '../http/server.ts'
import { type Rate, ratePerUid } from '../rate-limit.ts'
import type { Metrics } from './prometheus.ts'
import { answerRefusals } from './refusals.ts'

export interface MetricsServerDeps {
  readonly bounds: HttpBounds
  readonly metrics: Pick<Metrics, 'text' | 'contentType'>
  /** A clock that never jumps. */
  readonly clockMs: () => number
  readonly logFault: (error: MetabindError) => void
}

/** Where Prometheus looks unless it is told otherwise. */
const PATH = '/metrics'
/** Of all who may connect. */
const CONNECTIONS_MAX = 16
/** Of all together, since nobody is told apart here: a scrape takes a millisecond. */
export const SCRAPES: Rate = { perSecond: 5, burst: 20 }

/**
 * Metrics for whoever may read them and do nothing else. Nothing of the admin socket is here; who calls is not
 * asked, as the answer is the same for everybody: its labels come from fixed sets.
 */
export function metricsServer(deps: MetricsServerDeps): FastifyInstance {
  const bounds = { ...deps.bounds, connections: CONNECTIONS_MAX }
  const app = httpServer(bounds, 'drop', undefined, () => undefined)
  const scrapes = ratePerUid(SCRAPES, deps.clockMs)
  app.addHook('onRequest', (_request, _reply, done) => {
    const waitSeconds = scrapes.take(undefined)
    if (waitSeconds > 0) throw new RateError(waitSeconds, 'metrics')
    done()
  })
  app.get(PATH, async (_request, reply) =>
    reply.type(deps.metrics.contentType).send(await deps.metrics.text()),
  )
  answerRefusals(app, deps.logFault)
  return app
}
