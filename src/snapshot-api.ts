import { z } from 'zod'

/**
 * What the snapshot of an agent has besides its status: the parts of the status page. Every list is bounded by
 * the agent, which says how many rows it left out; times are UTC, ISO 8601.
 */

export const SNAPSHOT_VERSION = 1

const time = z.string()

/** Whom something is counted for, as far as that is known. */
const who = {
  uid: z.number().optional(),
  /** Of the uid, in /etc/passwd. */
  user: z.string().optional(),
  unit: z.string().optional(),
  /** `none`: it is in namespaces of its own that are no known container's. */
  container: z.string().optional(),
  /** Whether it is known where it stands: if not, it may be in any unit or container. */
  isPlaced: z.boolean(),
}

/** One link of what is proven of this instance, from what vouches for the TPM to what the cloud says. */
const proofLink = z.object({
  /** anchor, EK, AK, RK, BK, SK or document. */
  name: z.string(),
  /** proven, not-proven or refused. */
  verdict: z.string(),
  sentence: z.string(),
})
export type ProofLink = z.infer<typeof proofLink>

/** What one user's processes, of one unit or container, asked for of one kind of path. */
const reader = z.object({
  id: z.number(),
  ...who,
  /** metadata, credentials, user-data or identity. */
  kind: z.string(),
  allowed: z.number(),
  /** Allowed, as the policy is in mode audit. */
  wouldRefuse: z.number(),
  refused: z.number(),
  lastPath: z.string(),
  /** allowed, would-refuse or refused. */
  lastVerdict: z.string(),
  lastAt: time,
})
export type SnapshotReader = z.infer<typeof reader>

/** Tokens of other instances that somebody has presented here. */
const alarm = z.object({
  id: z.number(),
  ...who,
  pid: z.number().optional(),
  /** What the last of the tokens says of the instance that made it. */
  identity: z.string(),
  count: z.number(),
  firstAt: time,
  lastAt: time,
  /** Left out until somebody has, and again when more come. */
  acknowledged: z.object({ at: time, uid: z.number().optional() }).optional(),
})
export type SnapshotAlarm = z.infer<typeof alarm>

const tokens = z.object({
  issued: z.number(),
  /** Of the last minutes, the present one last. */
  perMinute: z.array(z.object({ issued: z.number(), refused: z.number() })).readonly(),
})

const cache = z.object({
  entries: z.number(),
  bytes: z.number(),
  hits: z.number(),
  misses: z.number(),
  stale: z.number(),
  /** What is missed most if it is lost: no value, only where it is from. */
  held: z.array(z.object({ path: z.string(), condition: z.string(), fetchedAt: time })).readonly(),
  heldMore: z.number(),
})

const source = z.object({
  isDown: z.boolean(),
  reads: z.number(),
  failures: z.number(),
  answeredAt: time.optional(),
  failure: z.object({ code: z.string(), sentence: z.string(), at: time }).optional(),
})

const auditCounts = z.object({
  records: z.number(),
  suppressed: z.number(),
  lost: z.number(),
  /** The last that this agent has made. */
  checkpoint: z.object({ seq: z.number(), hash: z.string(), at: time }).optional(),
})

export const snapshotParts = {
  proof: z.array(proofLink).readonly(),
  alarms: z.array(alarm).readonly(),
  alarmsMore: z.number(),
  readers: z.array(reader).readonly(),
  readersMore: z.number(),
  tokens,
  cache,
  source,
  auditCounts,
}
