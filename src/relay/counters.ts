import { ERRORS } from '../error-table.ts'
import type { ErrorCode } from '../errors.ts'
import type { TokenAnswer } from '../federation/fleet-tokens.ts'
import type { LimitKind } from './limits.ts'

export const ROUTES = ['token', 'metadata', 'own', 'none'] as const
/**
 * What a request asked for: `own` is everything under /metabind, `none` is what was refused before
 * that could be said.
 */
export type RouteKind = (typeof ROUTES)[number]

export const CACHE_STATES = ['hit', 'miss', 'stale'] as const
/** How an answer came about; `stale`: the source could not be asked, and an old one was still good. */
type CacheState = (typeof CACHE_STATES)[number]

export const ENROLMENT_OUTCOMES = ['ok', 'down', 'refused'] as const
/** What an attempt to enrol at the registrar came to; `down`: no answer, or the TPM or source failed. */
type EnrolmentOutcome = (typeof ENROLMENT_OUTCOMES)[number]

/** Plain numbers that the request path adds to. metrics.ts reads them when somebody asks. */
export interface Counters {
  answered(route: RouteKind, code: ErrorCode | 'OK'): void
  cache(state: CacheState): void
  limited(kind: LimitKind): void
  fleetToken(how: TokenAnswer): void
  enrolment(outcome: EnrolmentOutcome): void
  readonly tokensIssued: number
  /** By what was asked for, then by the code of the answer. */
  readonly requests: ReadonlyMap<RouteKind, ReadonlyMap<string, number>>
  readonly cacheAnswers: ReadonlyMap<CacheState, number>
  readonly limits: ReadonlyMap<LimitKind, number>
  readonly fleetTokens: ReadonlyMap<TokenAnswer, number>
  readonly enrolments: ReadonlyMap<EnrolmentOutcome, number>
  auditRecords: number
  auditSuppressed: number
  auditLost: number
  logLost: number
  connections: number
}

// What a request can be answered with; the other codes are for files, verifiers and the command line.
const ANSWERED =
  /^(REQUEST|TOKEN|CALLER|POLICY_DENIED|METADATA|LISTEN_URI|PROOF|SOURCE|AGENT|FEDERATION|LIMIT|INTERNAL)/

const CODES = ['OK', ...Object.keys(ERRORS).filter((code) => ANSWERED.test(code))]

/** Every count begins at 0: an alert on its increase misses the first of what was not there before. */
export function newCounters(): Counters {
  const requests = new Map(ROUTES.map((route) => [route, new Map(CODES.map((code) => [code, 0]))]))
  const cacheAnswers = new Map<CacheState, number>()
  const limits = new Map<LimitKind, number>()
  const fleetTokens = new Map<TokenAnswer, number>()
  const enrolments = new Map<EnrolmentOutcome, number>()
  return {
    answered: (route, code) => add(requests.get(route), code),
    cache: (state) => add(cacheAnswers, state),
    limited: (kind) => add(limits, kind),
    fleetToken: (how) => add(fleetTokens, how),
    enrolment: (outcome) => add(enrolments, outcome),
    get tokensIssued() {
      return requests.get('token')?.get('OK') ?? 0
    },
    requests,
    cacheAnswers,
    limits,
    fleetTokens,
    enrolments,
    auditRecords: 0,
    auditSuppressed: 0,
    auditLost: 0,
    logLost: 0,
    connections: 0,
  }
}

function add<K>(counts: Map<K, number> | undefined, key: K): void {
  counts?.set(key, (counts.get(key) ?? 0) + 1)
}
