import type { Audit } from '../audit/audit.ts'
import { ERRORS } from '../error-table.ts'
import { causeChain, MetabindError } from '../errors.ts'
import type { FederationDeps } from '../federation/federation.ts'
import type { Log } from '../log.ts'
import type { Counters } from '../relay/counters.ts'

/** What log and audit records say of an agent and the registrar of its fleet: a refusal once, and of an outage little. */
export function federationWatcher(
  log: Log,
  audit: Audit,
): Pick<FederationDeps, 'onStanding' | 'onAttempt' | 'onRecord'> {
  let isRecordFaulty = false
  return {
    onStanding: (standing) => {
      if (standing.is === 'enrolled' || standing.is === 'held') {
        const { subject, is, generation } = standing
        log[is === 'held' ? 'warn' : 'info']({ subject, generation }, `registrar: ${is}`)
        audit({ event: 'federation.enrolled', detail: `${subject}, ${is}` })
        return
      }
      const code = standing.is === 'refused' ? standing.reason : undefined
      const remedy = code && ERRORS[code].remedy
      log.warn({ code, remedy }, `registrar: ${standing.is}`)
      audit({ event: 'federation.lost', ...(code === undefined ? {} : { code }) })
    },
    onAttempt: (problem, failuresBefore) => {
      // Whose standing says it.
      if (problem === undefined || outcomeOf(problem) === 'refused') return
      const level = Number.isInteger(Math.log2(failuresBefore + 1)) ? 'warn' : 'debug'
      const { code } = problem
      const { remedy } = ERRORS[code]
      log[level]({ code, cause: causeChain(problem), remedy }, 'registrar: enrolment waits')
    },
    onRecord: (problem) => {
      if (isRecordFaulty) return
      isRecordFaulty = true
      const code = problem instanceof MetabindError ? problem.code : undefined
      log.warn({ code, cause: causeChain(problem) }, 'registrar: the record of the enrolment')
    },
  }
}

/** What is counted of an attempt. */
export function outcomeOf(
  problem: MetabindError | undefined,
): Parameters<Counters['enrolment']>[0] {
  if (problem === undefined) return 'ok'
  return problem.code === 'FEDERATION_REFUSED' ? 'refused' : 'down'
}
