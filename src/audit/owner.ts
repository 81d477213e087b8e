import { AGENT, NAMELESS, type Owner } from '../shares.ts'
import type { AuditEvent, AuditRecord } from './audit.ts'

/** For whom a record is counted. */
export function recordOwner(record: AuditRecord): Owner {
  const uid = record.caller?.uid ?? record.uid
  if (uid === undefined) return isRefusal(record) ? NAMELESS : AGENT
  return isOfContainer(record) ? `uid ${uid} of a container` : `uid ${uid}`
}

/** A container's users are others than those of the host, though they may have the same numbers. */
export function isOfContainer({ caller }: AuditRecord): boolean {
  return caller?.namespaces.includes('network') ?? false
}

const REFUSALS_OF_CALLERS: readonly AuditEvent[] = [
  'token.refused',
  'token.foreign',
  'policy.refused',
  'request.refused',
  'limit.refused',
]

/** Whether a request was refused, and not something that the agent did by itself. */
export function isRefusal({ event }: AuditRecord): boolean {
  return REFUSALS_OF_CALLERS.includes(event)
}
