/** When the registrar is asked again. All are spread at random, as many instances were started at once. */

const RETRY_MS_MIN = 1000
const RETRY_MS_MAX = 300_000
/** Somebody has to act, at the registrar. */
const REFUSED_MS = 900_000
/** Somebody is expected to act. */
const HELD_MS = 60_000
/** Whatever life the registrar gives: a renewal is work for the TPM. The shortest that one is configured with is 300 s. */
const RENEW_MS_MIN = 60_000
/** The longest that a timer of Node can be. */
const TIMER_MS_MAX = 2_147_483_647

/**
 * After an attempt that the registrar did not answer.
 *
 * @param failures how many came before it in a row
 * @param random from 0 to 1
 * @param saidMs what it said itself: never earlier
 */
export function retryMs(failures: number, random: number, saidMs = 0): number {
  const ms = Math.min(RETRY_MS_MIN * 2 ** failures, RETRY_MS_MAX)
  // At least half of it is waited, and an outage of all is not ended by all at once.
  return saidMs + ms * (0.5 + random / 2)
}

/** @param random from 0 to 1 */
export function refusedMs(random: number): number {
  return spread(REFUSED_MS, random)
}

/** @param random from 0 to 1 */
export function heldMs(random: number): number {
  return spread(HELD_MS, random)
}

/** At half of a life, or after a minute, a tenth earlier or later. @param random from 0 to 1 */
export function renewMs(lifeMs: number, random: number): number {
  return Math.min(spread(Math.max(lifeMs / 2, RENEW_MS_MIN), random), TIMER_MS_MAX)
}

function spread(ms: number, random: number): number {
  return ms * (0.9 + random / 5)
}
