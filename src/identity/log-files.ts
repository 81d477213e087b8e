import { setTimeout as sleep } from 'node:timers/promises'
import { parseCel } from '../format/cel.ts'
import {
  CEL_BYTES_MAX,
  EVENT_LOG_BYTES_MAX,
  type Evidence,
  IMA_LOG_BYTES_MAX,
  SYSTEMD_LOG_BYTES_MAX,
} from '../format/evidence.ts'
import { parseImaLog } from '../format/ima-log.ts'
import { LOG_NAMES, type LogName } from '../format/pcr-event.ts'
import { parseSystemdLog } from '../format/systemd-log.ts'
import { pcrValuesOf } from '../measurements/pcr-quote.ts'
import { replayLogs } from '../measurements/replayed-logs.ts'
import { readAtMost, readFileAtMost } from '../storage/read-at-most.ts'

/** Where a log is: a path, or a descriptor that systemd opened, as root alone may open most logs. */
type LogFile = string | number

/** Logs of this TPM. What is undefined is not there, or is of another TPM. */
export type LogFiles = Readonly<Partial<Record<LogName, LogFile | undefined>>>

/** What evidence has of them. */
export type LoggedEvidence = Pick<Evidence, 'eventLog' | 'logs'>

/** Who writes a log extends the PCR first (systemd) or last (IMA); a quote between the two is soon explained. */
const READINGS_MAX = 3
const READING_PAUSE_MS = 50

const BYTES_MAX: Readonly<Record<LogName, number>> = {
  firmware: EVENT_LOG_BYTES_MAX,
  systemd: SYSTEMD_LOG_BYTES_MAX,
  ima: IMA_LOG_BYTES_MAX,
  cel: CEL_BYTES_MAX,
}

/** A verifier refuses what is malformed, and half a record is. The firmware's log cannot change, and is left to it. */
const PARSERS: Readonly<Partial<Record<LogName, (log: Buffer) => unknown>>> = {
  systemd: parseSystemdLog,
  ima: (log) => parseImaLog(log, []),
  cel: parseCel,
}

/** The firmware's log alone. */
export function readFirmwareLog({ firmware }: LogFiles): LoggedEvidence {
  return readLogs({ firmware })
}

/**
 * All logs, read after the quote. Read anew as long as one of them goes on and does not lead to the quoted values.
 *
 * @param quoted evidence without logs
 */
export async function readLogsAfter(files: LogFiles, quoted: Evidence): Promise<LoggedEvidence> {
  let logged = readLogs(files)
  for (let reading = 1; reading < READINGS_MAX && isShort(logged, quoted); reading += 1) {
    await sleep(READING_PAUSE_MS)
    const next = readLogs(files)
    if (isSame(logged, next)) break
    logged = next
  }
  return logged
}

/** Whether systemd's or IMA's log has events of a quoted PCR, and does not lead to its value. */
function isShort({ eventLog, logs }: LoggedEvidence, quoted: Evidence): boolean {
  if (logs?.leftOut?.some((name) => name === 'systemd' || name === 'ima')) return true
  if (logs?.systemd === undefined && logs?.ima === undefined) return false
  const values = pcrValuesOf(quoted.pcrs)
  const { logs: parsed, pcrs } = replayLogs({ ...quoted, eventLog, logs }, values)
  const replayed = new Set(pcrs.map(({ pcr }) => pcr))
  const shown = new Set([...values.values()].flatMap((bank) => [...bank.keys()]))
  return [...parsed.systemd, ...parsed.ima].some(
    ({ pcr }) => pcr !== undefined && shown.has(pcr) && !replayed.has(pcr),
  )
}

function isSame(before: LoggedEvidence, after: LoggedEvidence): boolean {
  const shape = ({ logs }: LoggedEvidence) =>
    [logs?.systemd?.length, logs?.ima?.length, logs?.leftOut].join()
  return shape(before) === shape(after)
}

function readLogs(files: LogFiles): LoggedEvidence {
  const read = new Map<LogName, Buffer>()
  const leftOut: LogName[] = []
  for (const name of LOG_NAMES) {
    const log = contentOf(files[name], BYTES_MAX[name])
    if (log === undefined) continue
    if (log.length > BYTES_MAX[name] || isMalformed(name, log)) leftOut.push(name)
    else read.set(name, log)
  }
  const eventLog = read.get('firmware')
  const [systemd, ima, cel] = [read.get('systemd'), read.get('ima'), read.get('cel')]
  const logs = {
    ...(systemd && { systemd }),
    ...(ima && { ima }),
    ...(cel && { cel }),
    ...(leftOut.length > 0 && { leftOut }),
  }
  return {
    ...(eventLog && { eventLog }),
    ...(Object.keys(logs).length > 0 && { logs }),
  }
}

/** A log, if it can be read: securityfs gives its files to root alone unless a rule says otherwise. */
function contentOf(file: LogFile | undefined, bytesMax: number): Buffer | undefined {
  if (file === undefined) return undefined
  try {
    return typeof file === 'number'
      ? readAtMost(file, bytesMax + 1, 0)
      : readFileAtMost(file, bytesMax + 1)
  } catch {
    // A kernel in lockdown refuses to read what it let be opened.
    return undefined
  }
}

function isMalformed(name: LogName, log: Buffer): boolean {
  try {
    PARSERS[name]?.(log)
    return false
  } catch {
    return true
  }
}
