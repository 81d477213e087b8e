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
    | 'policy.loaded'
    | 'policy.not-loaded'
    | 'policy.refused'
    | 'policy.would-refuse'
    | 'policy.seen'
    | 'agent.stopped'
    | 'agent.resumed'
  readonly caller?: Caller | undefined
  readonly code?: ErrorCode
  readonly detail?: string | undefined
  readonly path?: string
  /** Of the policy: the number of the rule that decided. */
  readonly rule?: number | 'default'
  readonly ttlSeconds?: number
}

/** Writes audit records into the log, marked so that they can be told from its other lines. */
export type Audit = (record: AuditRecord) => void

// What goes as it should; everything else stands out as a warning.
const ORDINARY = new Set<AuditRecord['event']>(['token.issued', 'policy.loaded', 'policy.seen'])

/** @param log where records go; a foreign token is a security event and stands out as a warning */
export function auditTo(log: Log): Audit {
  return (record) => {
    const level = ORDINARY.has(record.event) ? 'info' : 'warn'
    log[level]({ audit: true, ...record }, record.event)
  }
}
