import type { Caller } from '../caller/caller.ts'
import type { ErrorCode } from '../errors.ts'
import type { Checkpoint } from './chain.ts'

type Verdict = 'allowed' | 'refused' | 'done'
type Level = 'error' | 'warn' | 'notice'

/** Every event there is, with its verdict and the level that it has in the log. */
export const EVENTS = {
  'token.issued': ['allowed', 'notice'],
  'token.refused': ['refused', 'warn'],
  'token.foreign': ['refused', 'warn'],
  'token.revoked': ['done', 'warn'],
  'secret.read': ['allowed', 'notice'],
  'policy.refused': ['refused', 'warn'],
  'policy.would-refuse': ['allowed', 'warn'],
  'policy.seen': ['allowed', 'notice'],
  'policy.loaded': ['done', 'notice'],
  'policy.not-loaded': ['refused', 'error'],
  'policy.unknown-accounts': ['done', 'warn'],
  'identity.issued': ['allowed', 'notice'],
  'federation.issued': ['allowed', 'notice'],
  'federation.enrolled': ['done', 'notice'],
  'federation.lost': ['done', 'warn'],
  'proof.signed': ['allowed', 'notice'],
  'evidence.made': ['allowed', 'notice'],
  'challenge.answered': ['allowed', 'notice'],
  'instance.changed': ['done', 'warn'],
  'request.refused': ['refused', 'warn'],
  'limit.refused': ['refused', 'warn'],
  'agent.started': ['done', 'notice'],
  'agent.ended': ['done', 'notice'],
  'agent.stopped': ['done', 'error'],
  'agent.resumed': ['done', 'notice'],
  'config.reloaded': ['done', 'notice'],
  'config.refused': ['refused', 'error'],
  'lockdown.on': ['done', 'notice'],
  'lockdown.off': ['done', 'warn'],
  'self-test.passed': ['allowed', 'notice'],
  'self-test.failed': ['refused', 'error'],
  'alarm.acknowledged': ['done', 'notice'],
  'audit.suppressed': ['done', 'warn'],
  'chain.checkpoint': ['done', 'notice'],
} as const satisfies Record<string, readonly [Verdict, Level]>

export type AuditEvent = keyof typeof EVENTS

/** One decision that matters, for whoever must answer later who did what. Holds nothing secret. */
export interface AuditRecord {
  readonly event: AuditEvent
  /** Of the request that it was decided on; refused callers are told it. */
  readonly id?: string | undefined
  readonly caller?: Caller | undefined
  /** The user, if no more of the caller is known. */
  readonly uid?: number | undefined
  /** What decided: a rule of the policy, or one of the limits. */
  readonly rule?: string | number | undefined
  readonly code?: ErrorCode
  readonly detail?: string | undefined
  readonly path?: string
  /** For whom what was asked for is. */
  readonly audience?: string
  readonly ttlSeconds?: number | undefined
  /** So many events of this kind within a second, of which this is the last. */
  readonly count?: number
  /** How many records were left out. */
  readonly suppressed?: number
  readonly checkpoint?: Checkpoint
}

/**
 * Writes one audit record. Returns at once and does not fail for want of room.
 *
 * @throws MetabindError CALLER_UNKNOWN if the caller's process has ended before anybody asked who it is: what
 *   was to be recorded is then refused
 */
export type Audit = (record: AuditRecord) => void
