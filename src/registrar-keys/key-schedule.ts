/** When which key signs. Values in, values out: the clock and the keys come from outside. */

export const SIGNING_ALGORITHMS = ['RS256', 'ES256'] as const
export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number]
/**
 * What keys are for, with their algorithm: tokens by algorithm, WITs apart, checkpoints of events apart from all tokens.
 * Each kind has keys of its own.
 */
export const KEY_KINDS = {
  RS256: 'RS256',
  ES256: 'ES256',
  wit: 'ES256',
  checkpoint: 'ES256',
} as const satisfies Record<string, SigningAlgorithm>
export type KeyKind = keyof typeof KEY_KINDS
/** No token lives longer. */
export const TOKEN_SECONDS_MAX = 3600

export interface KeySchedule {
  /** For how long a key signs. */
  readonly rotateMs: number
  /** For how long it is published before that, and after. Longer than a token lives. */
  readonly overlapMs: number
}

interface ScheduledKey {
  readonly startsAtMs: number
}

/** The key that signs now: of those whose time has come the newest. @param keys of one kind */
export function signingNow<Key extends ScheduledKey>(
  keys: readonly Key[],
  nowMs: number,
): Key | undefined {
  return inOrder(keys).findLast(({ startsAtMs }) => startsAtMs <= nowMs)
}

/**
 * @param keys of one kind
 * @param wantedAtMs when somebody wanted another key before it is due
 * @returns when the key starts that has to be made now; undefined if none has to. The first signs at once; a later one
 *   never before it was published for long enough, also if nobody was there to make it in time
 */
export function nextStartMs(
  keys: readonly ScheduledKey[],
  { rotateMs, overlapMs }: KeySchedule,
  nowMs: number,
  wantedAtMs?: number,
): number | undefined {
  const newest = inOrder(keys).at(-1)
  if (newest === undefined) return nowMs
  const dueMs = newest.startsAtMs + rotateMs
  if (nowMs >= dueMs - overlapMs) return Math.max(dueMs, nowMs + overlapMs)
  // One that was made since starts later: no key starts before it was published for so long.
  const isWanted = wantedAtMs !== undefined && newest.startsAtMs < wantedAtMs + overlapMs
  return isWanted && nowMs >= wantedAtMs ? nowMs + overlapMs : undefined
}

/** Keys whose successor has signed for so long that no token of theirs is left. @param keys of one kind */
export function overdue<Key extends ScheduledKey>(
  keys: readonly Key[],
  { overlapMs }: KeySchedule,
  nowMs: number,
): Key[] {
  const ordered = inOrder(keys)
  return ordered.filter((_, at) => {
    const successor = ordered[at + 1]
    return successor !== undefined && successor.startsAtMs + overlapMs <= nowMs
  })
}

function inOrder<Key extends ScheduledKey>(keys: readonly Key[]): Key[] {
  return keys.toSorted((one, other) => one.startsAtMs - other.startsAtMs)
}
