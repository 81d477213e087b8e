import { IDENTITY_TOKEN_SECONDS_MAX } from '../format/identity-token.ts'
import { registrarEvent } from './registrar-events.ts'
import type { Repository } from './repository.ts'

/** How far the clocks of instances may be ahead, as for any identity token. */
const SKEW_SECONDS = 60
const LIFETIME_MS = IDENTITY_TOKEN_SECONDS_MAX * 1000
/** Beside the ids of identity tokens, which are hexadecimal: kept until the last token from before a restore is over. */
const RESTORED = 'restored'
/** Who verifies the chain by what was signed after the copy was made finds it cut or made anew: this says why. */
export const RESTORED_EVENT = 'database.restored'

/**
 * Writes that a database is a copy of what it was: which identity tokens were used since that copy is forgotten, so that
 * none from before is to be taken.
 */
export async function markRestored(
  repository: Repository,
  by: string,
  nowMs: number,
): Promise<void> {
  const event = registrarEvent(RESTORED_EVENT, { by })
  await repository.commit({ instances: [], events: [event] }, nowMs)
  await repository.keepUntil(RESTORED, nowMs + SKEW_SECONDS * 1000 + LIFETIME_MS)
}

/** @returns from when on identity tokens must have been made, in ms; 0 unless the database was restored lately */
export async function usableFromMs(repository: Repository): Promise<number> {
  const untilMs = await repository.keptUntil(RESTORED)
  return untilMs === undefined ? 0 : untilMs - LIFETIME_MS
}
