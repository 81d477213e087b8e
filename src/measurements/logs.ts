import type { TpmHash } from '../format/algorithms.ts'
import { parseCel } from '../format/cel.ts'
import { type EventLog, parseEventLog } from '../format/event-log.ts'
import type { Evidence } from '../format/evidence.ts'
import { parseImaLog } from '../format/ima-log.ts'
import type { LogName, PcrEvent } from '../format/pcr-event.ts'
import { parseSystemdLog } from '../format/systemd-log.ts'

/** The logs of evidence, taken apart. */
export interface Logs {
  readonly firmware: EventLog | undefined
  readonly systemd: readonly PcrEvent[]
  readonly ima: readonly PcrEvent[]
  readonly cel: readonly PcrEvent[]
  /** Which ones the instance says it has left out, for their length or form. */
  readonly leftOut: readonly LogName[]
}

/**
 * @param banks those in which events will be replayed
 * @throws MetabindError VERIFY_EVENT_LOG if a log is malformed
 */
export function parseLogs({ eventLog, logs }: Evidence, banks: Iterable<TpmHash['name']>): Logs {
  return {
    firmware: eventLog && parseEventLog(eventLog),
    systemd: logs?.systemd ? parseSystemdLog(logs.systemd) : [],
    ima: logs?.ima ? parseImaLog(logs.ima, banks) : [],
    cel: logs?.cel ? parseCel(logs.cel) : [],
    leftOut: logs?.leftOut ?? [],
  }
}
