import type { FastifyInstance } from 'fastify'
import { RateError } from '../errors.ts'
import { type Rate, ratePerUid } from '../rate-limit.ts'

/**
 * One rate for all who ask, at a server that tells nobody apart.
 *
 * @param who they are called in the log
 * @param clockMs a clock that never jumps
 */
export function shareRate(
  app: FastifyInstance,
  who: string,
  rate: Rate,
  clockMs: () => number,
): void {
  const asked = ratePerUid(rate, clockMs)
  app.addHook('onRequest', (_request, _reply, done) => {
    const waitSeconds = asked.take(undefined)
    if (waitSeconds > 0) throw new RateError(waitSeconds, who)
    done()
  })
}
