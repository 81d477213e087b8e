import { z } from 'zod'

/**
 * `held` waits for `approve`; `suspended` was active and waits for an administrator; `evicted` may enrol again as if it
 * had never been there; `banned` may not, under no instance id.
 */
export const INSTANCE_STATES = ['held', 'active', 'suspended', 'evicted', 'banned'] as const
export type InstanceState = (typeof INSTANCE_STATES)[number]

const hex = z.string().regex(/^(?:[0-9a-f]{2})+$/)
const timeMs = z.int().nonnegative()
export const GENERATION_MAX = 2 ** 40

/** What the registrar knows of an instance. One document, which is replaced as a whole by a conditional write. */
export const enrolledInstanceSchema = z.strictObject({
  iid: hex.length(32),
  /** Goes up by one with each write: a write names the one before. */
  revision: z.int().min(1),
  dialect: z.string(),
  instanceId: z.string(),
  ekName: hex,
  akName: hex,
  /** What the EK can be pinned by. */
  ekSpkiSha256: hex.length(64),
  /** The key that signs the instance's identity tokens. */
  sk: z.strictObject({ kty: z.literal('EC'), crv: z.string(), x: z.string(), y: z.string() }),
  /** What vouched for the TPM at the last enrolment. */
  anchor: z.enum(['ek-certificate', 'ek-pin', 'ak-certificate', 'none']),
  proven: z.array(z.string()),
  state: z.enum(INSTANCE_STATES),
  /** Why it is in that state, for administrators. */
  reason: z.string().max(1024).optional(),
  /** Of the last evidence, as metabind/verify makes it: `last` of the next one. */
  record: z.looseObject({
    clockMs: z.int().nonnegative(),
    resetCount: z.int().nonnegative(),
    restartCount: z.int().nonnegative(),
  }),
  /** Number of the last accepted enrolment; the instance shows it with the next one. */
  generation: z.int().min(1).max(GENERATION_MAX),
  /** Generations on which another branch of the machine would go on: first, last. */
  abandoned: z.array(z.tuple([z.int(), z.int()])).max(64),
  /** When its counters were last seen to go back. */
  restoredAtMs: timeMs.optional(),
  /** Where the last accepted enrolment came from. */
  source: z.string(),
  enrolledAtMs: timeMs,
  seenAtMs: timeMs,
  /** Until when it is believed without new evidence. */
  expiresAtMs: timeMs,
})

export type EnrolledInstance = Readonly<z.output<typeof enrolledInstanceSchema>>

/** What tokens name an instance by: `aliyun:i-bp1…`. */
export function subjectOf({
  dialect,
  instanceId,
}: Pick<EnrolledInstance, 'dialect' | 'instanceId'>) {
  return `${dialect}:${instanceId}`
}
