import type { FastifyInstance } from 'fastify'
import { MetabindError } from '../errors.ts'
import { asMetabindError, errorResponse } from '../http/error-response.ts'
import { sendResponse } from '../http/response.ts'

/** Refuses what is not there, and answers what was thrown in our words; a fault of our own is logged. */
export function answerRefusals(
  app: FastifyInstance,
  logFault: (error: MetabindError) => void,
): void {
  app.setNotFoundHandler(() => {
    throw new MetabindError('ADMIN_ABSENT')
  })
  app.setErrorHandler((error, request, reply) => {
    const known = asMetabindError(error)
    if (known.code === 'INTERNAL') logFault(known)
    return sendResponse(reply, errorResponse(known, request.id, {}))
  })
}
