import { z } from 'zod'

/** What ./dev soak wrote down, a line each. */

const quantiles = z.object({
  count: z.number(),
  p50: z.number().optional(),
  p99: z.number().optional(),
})

const sample = z.object({
  kind: z.literal('sample'),
  at: z.number(),
  pid: z.number(),
  load: z.number().optional(),
  /** Left out while there was no process. */
  process: z
    .object({
      rssBytes: z.number(),
      pssBytes: z.number(),
      privateBytes: z.number(),
      descriptors: z.number(),
      cpuSeconds: z.number(),
    })
    .optional(),
  heap: z.object({ heapUsed: z.number(), external: z.number() }).optional(),
  cgroupBytes: z.number().optional(),
  tpm: z
    .object({
      transient: z.number(),
      loadedSessions: z.number(),
      savedSessions: z.number(),
      persistent: z.number(),
    })
    .optional(),
  tpmCommands: z.number(),
  requests: z.number(),
  latency: z.record(z.string(), quantiles),
  outcomes: z.record(z.string(), z.record(z.string(), z.number())),
  wrong: z.array(z.string()),
  metrics: z.record(z.string(), z.number()),
})
export type Sample = Readonly<z.infer<typeof sample>>

const event = z.looseObject({ kind: z.literal('event'), at: z.number(), what: z.string() })
type Event = Readonly<z.infer<typeof event>>

const failure = z.object({ kind: z.literal('error'), at: z.number(), error: z.string() })
type Failure = Readonly<z.infer<typeof failure>>

export interface Seen {
  readonly samples: readonly Sample[]
  readonly events: readonly Event[]
  readonly failures: readonly Failure[]
}

const line = z.discriminatedUnion('kind', [sample, event, failure])

/** @param text JSON, a line each */
export function seenIn(text: string): Seen {
  const lines = text
    .split('\n')
    .filter((one) => one !== '')
    .map((one) => line.parse(JSON.parse(one)))
  return {
    samples: lines.filter((one) => one.kind === 'sample'),
    events: lines.filter((one) => one.kind === 'event'),
    failures: lines.filter((one) => one.kind === 'error'),
  }
}
