import { createHash } from 'node:crypto'
import { MetabindError } from '../errors.ts'
import { LittleEndianReader } from './little-endian-reader.ts'
import { ALG, type TpmHash, tpmHash } from './tpm-algorithms.ts'
import { PCR_MAX } from './tpm-pcr-selection.ts'

/**
 * Replays an event log (TCG PC Client Platform Firmware Profile 1.06, 10) to the PCR values that it
 * leads to. Only digests are replayed. Types and data of events are not covered by any PCR and must
 * not be believed on the strength of this.
 */

const EV_NO_ACTION = 3
const EV_EFI_HCRTM_EVENT = 0x8000_0010
const SPEC_ID = 'Spec ID Event03\0'
const STARTUP_LOCALITY = 'StartupLocality\0'
const HCRTM_LOCALITY = 4
const SHA1_BYTES = 20
const EVENTS_MAX = 65_536
const BANKS_MAX = 16
// PCRs 17 to 22 start as all ones, and all others as zeros (PC Client Platform TPM Profile 4.6).
const DYNAMIC_FIRST = 17
const DYNAMIC_LAST = 22

/** PCR values by bank and number. A bank that is not here is one that the log says nothing of. */
export type ReplayedPcrs = ReadonlyMap<TpmHash['name'], ReadonlyMap<number, Buffer>>

interface LoggedEvent {
  readonly pcr: number
  readonly type: number
  /** By TPM_ALG_ID. */
  readonly digests: ReadonlyMap<number, Buffer>
  readonly data: Buffer
}

/**
 * A log is crypto-agile if it begins with TCG_EfiSpecIDEvent. Else it is in the form of TPM 1.2, with
 * SHA-1 alone, or empty: there are machines whose firmware writes no other.
 *
 * @throws MetabindError VERIFY_EVENT_LOG if the log is malformed
 */
export function replayEventLog(log: Uint8Array): ReplayedPcrs {
  const reader = new LittleEndianReader(log, () => refuse('truncated'))
  if (reader.isAtEnd) return new Map()
  const first = readSha1Event(reader)
  const sizes = digestSizes(first)
  const pcrs = new Pcrs(sizes?.keys() ?? [ALG.SHA1])
  if (sizes === undefined) replayEvent(first, pcrs)
  for (let count = 0; !reader.isAtEnd; count += 1) {
    if (count === EVENTS_MAX) refuse('too many events')
    replayEvent(sizes === undefined ? readSha1Event(reader) : readEvent(reader, sizes), pcrs)
  }
  return pcrs.banks
}

/** TCG_PCClientPCREvent. */
function readSha1Event(reader: LittleEndianReader): LoggedEvent {
  const [pcr, type] = [reader.u32(), reader.u32()]
  const digests = new Map([[ALG.SHA1, reader.take(SHA1_BYTES)]])
  return { pcr, type, digests, data: reader.sized() }
}

/** TCG_EfiSpecIDEventStruct says how long each bank's digests are; undefined for another event. */
function digestSizes({ pcr, type, data }: LoggedEvent): ReadonlyMap<number, number> | undefined {
  const isSpecId = pcr === 0 && type === EV_NO_ACTION && nameIn(data) === SPEC_ID
  if (!isSpecId) return undefined
  const event = new LittleEndianReader(data, () => refuse('truncated'))
  // signature, then platformClass u32, minor, major, errata, uintnSize u8 each.
  event.take(16 + 8)
  const count = event.u32()
  if (count === 0 || count > BANKS_MAX) refuse(`${count} banks`)
  const sizes = new Map<number, number>()
  for (let at = 0; at < count; at += 1) sizes.set(event.u16(), event.u16())
  return sizes
}

/** TCG_PCR_EVENT2. */
function readEvent(reader: LittleEndianReader, sizes: ReadonlyMap<number, number>): LoggedEvent {
  const [pcr, type] = [reader.u32(), reader.u32()]
  return { pcr, type, digests: readDigests(reader, sizes), data: reader.sized() }
}

function readDigests(
  reader: LittleEndianReader,
  sizes: ReadonlyMap<number, number>,
): Map<number, Buffer> {
  const count = reader.u32()
  if (count > sizes.size) refuse(`${count} digests`)
  const digests = new Map<number, Buffer>()
  for (let at = 0; at < count; at += 1) {
    const algorithm = reader.u16()
    const size = sizes.get(algorithm)
    const expected = tpmHash(algorithm)?.bytes ?? size
    if (size === undefined || size !== expected || digests.has(algorithm)) refuse('a digest')
    digests.set(algorithm, reader.take(size))
  }
  return digests
}

function replayEvent({ pcr, type, digests, data }: LoggedEvent, pcrs: Pcrs): void {
  if (type === EV_NO_ACTION) {
    const isLocality = pcr === 0 && nameIn(data) === STARTUP_LOCALITY
    if (isLocality && data.length === 17) pcrs.startAtLocality(data.readUInt8(16))
    return
  }
  if (pcr > PCR_MAX) refuse(`PCR ${pcr}`)
  if (pcr === 0 && type === EV_EFI_HCRTM_EVENT) pcrs.startByHcrtm()
  for (const [algorithm, digest] of digests) {
    const hash = tpmHash(algorithm)
    if (hash !== undefined) pcrs.extend(hash, pcr, digest)
  }
}

function nameIn(data: Buffer): string {
  return data.toString('latin1', 0, 16)
}

class Pcrs {
  readonly banks = new Map<TpmHash['name'], Map<number, Buffer>>()
  #locality: number | undefined

  /** @param algorithms TPM_ALG_IDs of the banks that the log is of */
  constructor(algorithms: Iterable<number>) {
    for (const algorithm of algorithms) {
      const hash = tpmHash(algorithm)
      if (hash !== undefined) this.banks.set(hash.name, new Map())
    }
  }

  /** PCR 0 starts as the locality of TPM2_Startup; only before anything is extended. */
  startAtLocality(locality: number): void {
    const isStarted = [...this.banks.values()].some((values) => values.has(0))
    if (isStarted) refuse('StartupLocality after PCR 0 was extended')
    this.#locality = locality
  }

  /**
   * Hardware measured the first code before TPM2_Startup: PCR 0 starts as 4 (TPM 2.0 Part 1, 34.3). Some
   * firmware logs the measurement and no locality. Behind the first event of PCR 0 it means nothing.
   */
  startByHcrtm(): void {
    this.#locality ??= HCRTM_LOCALITY
  }

  extend({ name, bytes }: TpmHash, pcr: number, digest: Buffer): void {
    const values = this.banks.get(name) ?? new Map<number, Buffer>()
    this.banks.set(name, values)
    const value = values.get(pcr) ?? this.#initial(pcr, bytes)
    values.set(pcr, createHash(name).update(value).update(digest).digest())
  }

  #initial(pcr: number, bytes: number): Buffer {
    const isDynamic = pcr >= DYNAMIC_FIRST && pcr <= DYNAMIC_LAST
    const value = Buffer.alloc(bytes, isDynamic ? 0xff : 0)
    if (pcr === 0) value.writeUInt8(this.#locality ?? 0, bytes - 1)
    return value
  }
}

function refuse(why: string): never {
  throw new MetabindError('VERIFY_EVENT_LOG', `Found: ${why}.`)
}
