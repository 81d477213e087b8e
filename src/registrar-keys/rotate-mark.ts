import { registrarEvent } from '../registrar-repository/registrar-events.ts'
import type { Repository } from '../registrar-repository/repository.ts'

/** Longer than a registrar is away, and than the longest overlap. */
const KEPT_MS = 31 * 86_400_000
/** Beside the ids of identity tokens, which are hexadecimal. */
const ROTATED = 'rotate'

/** Writes that every key is to have a successor, which is made by the registrars at their next refresh. */
export async function markRotated(
  repository: Repository,
  by: string,
  nowMs: number,
): Promise<void> {
  const event = registrarEvent('keys.rotated', { by })
  await repository.commit({ instances: [], events: [event] }, nowMs)
  await repository.keepUntil(ROTATED, nowMs + KEPT_MS)
}

/** @returns when somebody last wanted other keys; undefined if nobody did, or long ago */
export async function rotatedAtMs(
  repository: Pick<Repository, 'keptUntil'>,
): Promise<number | undefined> {
  const untilMs = await repository.keptUntil(ROTATED)
  return untilMs === undefined ? undefined : untilMs - KEPT_MS
}
