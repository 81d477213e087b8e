import { MetabindError } from '../errors.ts'

/** When credentials begin and end, as they say themselves. */
export interface CredentialTimes {
  /** Expiration, in milliseconds of the wall clock. */
  readonly expiresAtMs: number
  /** From LastUpdated to Expiration, in milliseconds; one day at most. */
  readonly lifeMs: number
}

/** What SDKs count as about to expire: the Node SDK of Alibaba Cloud under 15 minutes, Go's under 3. */
export const SDK_STALE_MS = 15 * 60_000
/** From when on a refresh is tried: ECS makes the next credentials at least 30 minutes before. */
export const REFRESH_BEFORE_MS = 30 * 60_000
/** Added by lot, so that the instances of a fleet do not ask at the same moment. */
export const REFRESH_JITTER_MS = 5 * 60_000
/** No credentials are used longer after they were first seen, whatever their Expiration says. */
export const CREDENTIAL_LIFE_MS_MAX = 24 * 3_600_000
/**
 * Reads when credentials end.
 *
 * @param nowMs the wall clock
 * @throws MetabindError SOURCE_NONSENSE if they have ended, or end before they begin
 */
export function credentialTimes(
  { lastUpdated, expiration }: { readonly lastUpdated: Date; readonly expiration: Date },
  nowMs: number,
): CredentialTimes {
  const [updatedAtMs, expiresAtMs] = [lastUpdated.getTime(), expiration.getTime()]
  if (expiresAtMs <= updatedAtMs) throw new MetabindError('SOURCE_NONSENSE', 'credentials: times')
  if (expiresAtMs <= nowMs) {
    throw new MetabindError('SOURCE_NONSENSE', 'credentials: expired, by the clock of this host')
  }
  const lifeMs = Math.min(expiresAtMs - updatedAtMs, CREDENTIAL_LIFE_MS_MAX)
  return { expiresAtMs, lifeMs }
}

/**
 * How much longer credentials may be used, in milliseconds; 0 or less: no longer. Two clocks, and
 * the stricter holds: the wall clock says when they expire, and if it was set back, boot time
 * since they were first seen still ends them after their whole life.
 *
 * @param seenForMs boot time since this agent's boot first saw them
 */
export function leftMs(times: CredentialTimes, nowMs: number, seenForMs: number): number {
  return Math.min(times.expiresAtMs - nowMs, times.lifeMs - seenForMs)
}
