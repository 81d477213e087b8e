import type { TpmHash } from './algorithms.ts'

/** The logs of what was measured, in the order in which they go on from each other. */
export const LOG_NAMES = ['firmware', 'systemd', 'ima', 'cel'] as const
export type LogName = (typeof LOG_NAMES)[number]

/** What went into a PCR, by bank. */
export type EventDigests = ReadonlyMap<TpmHash['name'], Buffer>

/**
 * An event of a log, as the log tells it. Nothing of it is shown to be true before its digests were
 * replayed to a quoted value; and then of the rest only what provenContent gives.
 */
export interface PcrEvent {
  readonly log: LogName
  /** Undefined for an event of an NV index: no quote covers those. */
  readonly pcr: number | undefined
  /** Which NV index took the place of a PCR: its name, or its handle in hex. */
  readonly nvIndex?: string | undefined
  /** A TCG event type of the firmware as a number; systemd's event type, or the template of IMA, as text. */
  readonly type: number | string
  /** Of banks that are not known here there is none. */
  readonly digests: EventDigests
  /** What was measured, if the log says so truly. */
  readonly data: Buffer
}
