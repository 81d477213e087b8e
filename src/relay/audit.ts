import type { ErrorCode } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Caller } from './caller.ts'

/** One decision that matters, for whoever must answer later who did what. Holds nothing secret. */
export interface AuditRecord {
  readonly event:
    | 'token.issued'
    | 'token.refused'
    | 'token.foreign'
    | 'token.revoked'
    | 'request.refused'
    | 'evidence.made'
    | 'challenge.answered'
    | 'identity.issued'
    | 'instance.changed'
    | 'self-test.passed'
    | 'agent.stopped'
    | 'agent.resumed'
  readonly caller?: Caller | undefined
  readonly code?: ErrorCode
  readonly detail?: string | undefined
  readonly path?: string
  readonly ttlSeconds?: number
}

/** Writes audit records into the log, marked so that they can be told from its other lines. */
export type Audit = (record: AuditRecord) => void

/** @param log where records go; a foreign token is a security event and stands out as a warning */
export function auditTo(log: Log): Audit {
  return (record) => {
    const level = record.event === 'token.issued' ? 'info' : 'warn'
    log[level]({ audit: true, ...record }, record.event)
  }
}
