import type { Caller } from '../caller/caller.ts'
import { type ErrorCode, LaterError, MetabindError } from '../errors.ts'
import { openCounts } from '../open-counts.ts'
import type { FleetToken, FleetTokenFormat } from './exchange.ts'
import type { Standing } from './membership.ts'
import { RegistrarDown, RegistrarRefusal } from './registrar-errors.ts'
import { type KeptToken, tokenCache } from './token-cache.ts'

/** A token that somebody on this instance asks for. */
interface AskedToken {
  readonly audience: string
  /** Undefined: the registrar's choice for the audience. */
  readonly format: FleetTokenFormat | undefined
  /** For whom it is made, and counted: nobody else is ever given it. */
  readonly caller: Caller
}

export const TOKEN_ANSWERS = ['kept', 'renewing', 'exchanged'] as const
/** How an answer came about; `renewing`: half of the token's life is over, and another is on its way. */
export type TokenAnswer = (typeof TOKEN_ANSWERS)[number]

/** Tokens of the registrar, for callers whom the policy lets have them. */
export interface FleetTokens {
  /**
   * One that was asked for before is there at once. Nobody waits for a renewal while the one before is of use.
   *
   * @throws MetabindError FEDERATION_…, LIMIT_RATE, LIMIT_SIGNATURES, TPM_…
   */
  issue(asked: AskedToken): KeptToken | Promise<KeptToken>
  /** The registrar has refused the instance: what it gave before is not told any further. */
  forget(): void
  readonly count: number
}

export interface FleetTokensDeps {
  readonly standing: () => Standing
  /** Seconds until the next attempt to enrol. */
  readonly nextAttemptSeconds: () => number
  /** Has SK sign, and asks the registrar. @throws MetabindError FEDERATION_DOWN, FEDERATION_REFUSED, LIMIT_SIGNATURES, TPM_… */
  readonly exchange: (asked: AskedToken) => Promise<FleetToken>
  /** Told why the registrar refused a token. */
  readonly onRefused: (reason: ErrorCode) => void
  readonly onAnswer: (how: TokenAnswer) => void
  /** @throws RateError */
  readonly requireExchange: (uid: number) => void
  /** A clock that never jumps. */
  readonly clockMs: () => number
}

/** Exchanges under way. The TPM makes a few signatures in a second: more would only wait. */
export const EXCHANGES_MAX = 32
export const EXCHANGES_PER_UID_MAX = 8
/** After one that was not answered, nobody waits for another so long. */
const DOWN_MS = 5000

/** It says nothing against the instance, but of what was asked for. */
const OF_THE_REQUEST = /^REGISTRAR_/
const WAITING: readonly ErrorCode[] = ['ENROL_UNKNOWN', 'ENROL_EXPIRED', 'ENROL_HELD']

export function fleetTokens(deps: FleetTokensDeps): FleetTokens {
  const { clockMs } = deps
  const cache = tokenCache(clockMs)
  const flights = new Map<string, Promise<KeptToken>>()
  const flying = openCounts<number>()
  let downUntilMs = Number.NEGATIVE_INFINITY
  let forgotten = 0

  const fly = async (key: string, asked: AskedToken): Promise<KeptToken> => {
    const askedAtMs = clockMs()
    const before = forgotten
    try {
      const made = await deps.exchange(asked)
      // Whatever was under way when the registrar refused the instance is not told either.
      if (before !== forgotten) throw new MetabindError('FEDERATION_REFUSED')
      return cache.keep(key, asked.caller.uid, made, askedAtMs)
    } catch (error) {
      // One user must not keep all others from asking by what a filter answers to.
      if (error instanceof RegistrarDown && !error.isOfRequest) {
        downUntilMs = clockMs() + Math.max(DOWN_MS, error.retryAfterMs ?? 0)
      }
      if (error instanceof RegistrarRefusal) deps.onRefused(error.reason)
      throw told(error)
    }
  }
  const told = (error: unknown): unknown => {
    if (error instanceof RegistrarDown) return down(error)
    if (!(error instanceof RegistrarRefusal)) return error
    const { reason } = error
    if (WAITING.includes(reason)) return notEnrolled(reason)
    return OF_THE_REQUEST.test(reason)
      ? new MetabindError('FEDERATION_AUDIENCE', error.detail)
      : error
  }
  const down = (cause?: unknown): LaterError => {
    const seconds = Math.max(1, Math.ceil((downUntilMs - clockMs()) / 1000))
    return new LaterError('FEDERATION_DOWN', seconds, undefined, cause)
  }
  const notEnrolled = (why?: string): LaterError =>
    new LaterError('FEDERATION_NOT_ENROLLED', deps.nextAttemptSeconds(), why)
  /** @throws what keeps it from being exchanged now */
  const launch = (key: string, asked: AskedToken): Promise<KeptToken> => {
    const underWay = flights.get(key)
    if (underWay !== undefined) return underWay
    const { is } = deps.standing()
    if (is !== 'enrolled') throw notEnrolled(is)
    if (clockMs() < downUntilMs) throw down()
    const { uid } = asked.caller
    const isFull = flights.size >= EXCHANGES_MAX || flying.of(uid) >= EXCHANGES_PER_UID_MAX
    if (isFull) throw new MetabindError('LIMIT_SIGNATURES')
    deps.requireExchange(uid)
    flying.add(uid, 1)
    const flight = fly(key, asked).finally(() => {
      flights.delete(key)
      flying.remove(uid, 1)
    })
    flights.set(key, flight)
    return flight
  }
  const renew = (key: string, asked: AskedToken): void => {
    try {
      launch(key, asked).catch(() => undefined)
    } catch {
      // The one that there is serves meanwhile.
    }
  }
  return {
    issue: (asked) => {
      const standing = deps.standing()
      if (standing.is === 'refused') throw new RegistrarRefusal(standing.reason)
      const key = keyOf(asked)
      const kept = cache.find(key)
      if (kept === undefined) {
        const flight = launch(key, asked)
        deps.onAnswer('exchanged')
        return flight
      }
      const isFresh = clockMs() < kept.renewAtMs
      deps.onAnswer(isFresh ? 'kept' : 'renewing')
      if (!isFresh) renew(key, asked)
      return kept
    },
    forget: () => {
      forgotten += 1
      cache.clear()
    },
    get count() {
      return cache.size
    },
  }
}

/** Whoever a token could speak of: its user and where its process is, beside what it is for. */
function keyOf({ audience, format, caller }: AskedToken): string {
  const { uid, unit, container, namespaces } = caller
  return JSON.stringify([audience, format, uid, unit, container, namespaces])
}
