import { ALG, SHA1, type TpmHash, tpmHash } from './algorithms.ts'
import { LittleEndianReader } from './little-endian-reader.ts'
import type { EventDigests, PcrEvent } from './pcr-event.ts'
import { EV_NO_ACTION, Pcrs, type ReplayedPcrs, refuseLog } from './pcrs.ts'

/**
 * Reads the firmware's event log (TCG PC Client Platform Firmware Profile 1.06, 10). Types and data of
 * events are covered by no PCR, and must not be believed on the strength of a replay.
 */

const SPEC_ID = 'Spec ID Event03\0'
const SHA1_BYTES = 20
const EVENTS_MAX = 65_536
const BANKS_MAX = 16

/** A log, taken apart. */
export interface EventLog {
  /** Those that the log is of. */
  readonly banks: ReadonlySet<TpmHash['name']>
  readonly events: readonly PcrEvent[]
}

/**
 * A log is crypto-agile if it begins with TCG_EfiSpecIDEvent. Else it is in the form of TPM 1.2, with
 * SHA-1 alone, or empty: there are machines whose firmware writes no other.
 *
 * @throws MetabindError VERIFY_EVENT_LOG if the log is malformed
 */
export function parseEventLog(log: Uint8Array): EventLog {
  const reader = new LittleEndianReader(log, () => refuseLog('truncated'))
  if (reader.isAtEnd) return { banks: new Set(), events: [] }
  const first = readSha1Event(reader)
  const sizes = digestSizes(first)
  const events = sizes === undefined ? [first] : []
  for (let count = 0; !reader.isAtEnd; count += 1) {
    if (count === EVENTS_MAX) refuseLog('too many events')
    events.push(sizes === undefined ? readSha1Event(reader) : readEvent(reader, sizes))
  }
  return { banks: banksOf(sizes?.keys() ?? [ALG.SHA1]), events }
}

/**
 * The PCR values that a log leads to.
 *
 * @throws MetabindError VERIFY_EVENT_LOG if the log is malformed
 */
export function replayEventLog(log: Uint8Array): ReplayedPcrs {
  const { banks, events } = parseEventLog(log)
  const pcrs = new Pcrs(banks)
  for (const event of events) pcrs.apply(event)
  return pcrs.banks
}

function banksOf(algorithms: Iterable<number>): ReadonlySet<TpmHash['name']> {
  const hashes = [...algorithms].map(tpmHash)
  return new Set(hashes.flatMap((hash) => (hash === undefined ? [] : [hash.name])))
}

/** TCG_PCClientPCREvent. */
function readSha1Event(reader: LittleEndianReader): PcrEvent {
  const [pcr, type] = [reader.u32(), reader.u32()]
  const digests = new Map([[SHA1, reader.take(SHA1_BYTES)]])
  return { log: 'firmware', pcr, type, digests, data: reader.sized() }
}

/** TCG_EfiSpecIDEventStruct says how long each bank's digests are; undefined for another event. */
function digestSizes({ pcr, type, data }: PcrEvent): ReadonlyMap<number, number> | undefined {
  const isSpecId = pcr === 0 && type === EV_NO_ACTION && data.toString('latin1', 0, 16) === SPEC_ID
  if (!isSpecId) return undefined
  const event = new LittleEndianReader(data, () => refuseLog('truncated'))
  // signature, then platformClass u32, minor, major, errata, uintnSize u8 each.
  event.take(16 + 8)
  const count = event.u32()
  if (count === 0 || count > BANKS_MAX) refuseLog(`${count} banks`)
  const sizes = new Map<number, number>()
  for (let at = 0; at < count; at += 1) sizes.set(event.u16(), event.u16())
  return sizes
}

/** TCG_PCR_EVENT2. */
function readEvent(reader: LittleEndianReader, sizes: ReadonlyMap<number, number>): PcrEvent {
  const [pcr, type] = [reader.u32(), reader.u32()]
  const digests = readDigests(reader, sizes)
  return { log: 'firmware', pcr, type, digests, data: reader.sized() }
}

function readDigests(reader: LittleEndianReader, sizes: ReadonlyMap<number, number>): EventDigests {
  const count = reader.u32()
  if (count > sizes.size) refuseLog(`${count} digests`)
  const seen = new Set<number>()
  const digests = new Map<TpmHash['name'], Buffer>()
  for (let at = 0; at < count; at += 1) {
    const algorithm = reader.u16()
    const size = sizes.get(algorithm)
    const hash = tpmHash(algorithm)
    const isRight = size !== undefined && size === (hash?.bytes ?? size) && !seen.has(algorithm)
    if (!isRight) refuseLog('a digest')
    seen.add(algorithm)
    const digest = reader.take(size)
    if (hash !== undefined) digests.set(hash.name, digest)
  }
  return digests
}
