import { z } from 'zod'
import { roleErrorOf } from '../dialect/role-code.ts'
import { roleRefusal } from '../dialect/role-credentials.ts'
import { MetabindError } from '../errors.ts'
import { nestsDeeperThan } from '../format/json-depth.ts'

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
/** Those of ECS have one kilobyte, those of EC2 two. */
export const CREDENTIAL_BYTES_MAX = 65_536
// They are one object of texts; some room for what a cloud may add.
const DEPTH_MAX = 8

// Go's and Python's SDKs parse exactly this layout; what they refuse is not passed on.
const time = z
  .string()
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
  .transform((text) => ({ text, ms: Date.parse(text) }))
  // Date.parse makes 2 March of 30 February.
  .refine(({ text, ms }) => Number.isFinite(ms) && new Date(ms).toISOString() === iso(text))
  .transform(({ ms }) => ms)
const member = z.string().min(1)

const schema = z.looseObject({ Code: z.literal('Success'), LastUpdated: time, Expiration: time })

/**
 * Reads when role credentials end (ECS user guide, "Instance RAM roles"; EC2 user guide, "Retrieve
 * security credentials"), and refuses any that an application could not use: a peer of ours answered 200 with empty members
 * after a failure upstream, and applications took them.
 *
 * @param members what has to be there besides Code and the times: the dialect's names
 * @param nowMs the wall clock
 * @throws MetabindError SOURCE_ROLE where the Code is another; SOURCE_NONSENSE, whose detail names the
 * member and never its value
 */
export function parseCredentials(
  body: Buffer,
  members: readonly string[],
  nowMs: number,
): CredentialTimes {
  const json = parseJson(body)
  const refused = roleRefusal.safeParse(json)
  if (refused.success) throw roleErrorOf(refused.data.Code)
  const parsed = schema.safeParse(json)
  const named = z.looseObject(Object.fromEntries(members.map((name) => [name, member])))
  const wrong = parsed.error ?? named.safeParse(json).error
  if (!parsed.success || wrong !== undefined) {
    const name = wrong?.issues[0]?.path.join('.') ?? ''
    throw new MetabindError('SOURCE_NONSENSE', `credentials: ${name || 'not an object'}`)
  }
  const { Expiration: expiresAtMs, LastUpdated: updatedAtMs } = parsed.data
  if (expiresAtMs <= updatedAtMs) throw new MetabindError('SOURCE_NONSENSE', 'credentials: times')
  if (expiresAtMs <= nowMs) {
    throw new MetabindError('SOURCE_NONSENSE', 'credentials: expired, by the clock of this host')
  }
  const lifeMs = Math.min(expiresAtMs - updatedAtMs, CREDENTIAL_LIFE_MS_MAX)
  return { expiresAtMs, lifeMs }
}

/**
 * How much longer credentials may be used, in milliseconds; 0 or less: no longer. Two clocks, and
 * the stricter holds: the wall clock says when they expire, and where it was set back, boot time
 * since they were first seen still ends them after their whole life.
 *
 * @param seenForMs boot time since this agent's boot first saw them
 */
export function leftMs(times: CredentialTimes, nowMs: number, seenForMs: number): number {
  return Math.min(times.expiresAtMs - nowMs, times.lifeMs - seenForMs)
}

function parseJson(body: Buffer): unknown {
  // 800 KB of brackets would hold up everybody else while they are parsed.
  if (body.length > CREDENTIAL_BYTES_MAX || nestsDeeperThan(DEPTH_MAX, body)) return undefined
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    // Its message quotes the text, which may be half a secret: it goes into no cause chain.
    return undefined
  }
}

function iso(text: string): string {
  return text.replace('Z', '.000Z')
}
