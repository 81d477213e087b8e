import type { FastifyInstance } from 'fastify'
import type { Rate } from '../rate-limit.ts'
import { type HttpBounds, httpServer } from './server.ts'
import { shareRate } from './shared-rate.ts'

export interface MetricsServerDeps {
  readonly bounds: Omit<HttpBounds, 'connections'>
  readonly metrics: { readonly text: () => Promise<string>; readonly contentType: string }
  /** A clock that never jumps. */
  readonly clockMs: () => number
}

/** Where Prometheus looks unless it is told otherwise. */
const PATH = '/metrics'
/** Of all who may connect. */
const CONNECTIONS_MAX = 16
/** Of all together, since nobody is told apart here: a scrape takes a millisecond. */
export const SCRAPES: Rate = { perSecond: 5, burst: 20 }

/**
 * Metrics for whoever may read them and do nothing else; who calls is not asked, as the answer is the same for
 * everybody: its labels come from fixed sets. How it refuses is for the caller to add.
 */
export function metricsServer({ bounds, metrics, clockMs }: MetricsServerDeps): FastifyInstance {
  const app = httpServer(
    { ...bounds, connections: CONNECTIONS_MAX },
    'drop',
    undefined,
    () => undefined,
  )
  shareRate(app, 'metrics', SCRAPES, clockMs)
  app.get(PATH, async (_request, reply) =>
    reply.type(metrics.contentType).send(await metrics.text()),
  )
  return app
}
