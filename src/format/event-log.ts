import { createHash } from 'node:crypto'
import { MetabindError } from '../errors.ts'
import { EVENT_LOG_BYTES_MAX } from './evidence.ts'
import { type TpmHash, tpmHash } from './tpm-algorithms.ts'
import { PCR_MAX } from './tpm-pcr-selection.ts'

/**
 * Replays a crypto-agile event log (TCG PC Client Platform Firmware Profile 1.06, 10) to the PCR
 * values that it leads to. Only digests are replayed. Types and data of events are not covered by
 * any PCR and must not be believed on the strength of this.
 */

const EV_NO_ACTION = 3
const SPEC_ID = 'Spec ID Event03\0'
const STARTUP_LOCALITY = 'StartupLocality\0'
const EVENTS_MAX = 65_536
const BANKS_MAX = 16
// PCRs 17 to 22 start as all ones, and all others as zeros (PC Client Platform TPM Profile 4.6).
const DYNAMIC_FIRST = 17
const DYNAMIC_LAST = 22

/** PCR values by bank and number. */
export type ReplayedPcrs = ReadonlyMap<TpmHash['name'], ReadonlyMap<number, Buffer>>

/** @throws MetabindError VERIFY_EVENT_LOG where the log is malformed */
export function replayEventLog(log: Uint8Array): ReplayedPcrs {
  const reader = new LittleEndianReader(log)
  const sizes = readSpecId(reader)
  const pcrs = new Pcrs()
  for (let count = 0; !reader.isAtEnd; count += 1) {
    if (count === EVENTS_MAX) refuse('too many events')
    replayEvent(reader, sizes, pcrs)
  }
  return pcrs.banks
}

/** TCG_PCClientPCREvent with TCG_EfiSpecIDEventStruct: says how long each bank's digests are. */
function readSpecId(reader: LittleEndianReader): ReadonlyMap<number, number> {
  const pcr = reader.u32()
  const type = reader.u32()
  reader.take(20)
  const event = new LittleEndianReader(reader.sized())
  const isSpecId = pcr === 0 && type === EV_NO_ACTION
  if (!isSpecId || event.take(16).toString('latin1') !== SPEC_ID) refuse('not crypto-agile')
  // platformClass u32, minor, major, errata, uintnSize u8 each.
  event.take(8)
  const count = event.u32()
  if (count === 0 || count > BANKS_MAX) refuse(`${count} banks`)
  const sizes = new Map<number, number>()
  for (let at = 0; at < count; at += 1) sizes.set(event.u16(), event.u16())
  return sizes
}

/** TCG_PCR_EVENT2. */
function replayEvent(
  reader: LittleEndianReader,
  sizes: ReadonlyMap<number, number>,
  pcrs: Pcrs,
): void {
  const pcr = reader.u32()
  const type = reader.u32()
  const digests = readDigests(reader, sizes)
  const event = reader.sized()
  if (type === EV_NO_ACTION) {
    const isLocality = pcr === 0 && event.toString('latin1', 0, 16) === STARTUP_LOCALITY
    if (isLocality && event.length === 17) pcrs.startAtLocality(event.readUInt8(16))
    return
  }
  if (pcr > PCR_MAX) refuse(`PCR ${pcr}`)
  for (const [algorithm, digest] of digests) {
    const hash = tpmHash(algorithm)
    if (hash !== undefined) pcrs.extend(hash, pcr, digest)
  }
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

class Pcrs {
  readonly banks = new Map<TpmHash['name'], Map<number, Buffer>>()
  #locality = 0

  /** PCR 0 starts as the locality of TPM2_Startup; only before anything is extended. */
  startAtLocality(locality: number): void {
    const isStarted = [...this.banks.values()].some((values) => values.has(0))
    if (isStarted) refuse('StartupLocality after PCR 0 was extended')
    this.#locality = locality
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
    if (pcr === 0) value.writeUInt8(this.#locality, bytes - 1)
    return value
  }
}

/** The log is little-endian, unlike everything of the TPM itself. */
class LittleEndianReader {
  readonly #bytes: Buffer
  #offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get isAtEnd(): boolean {
    return this.#offset === this.#bytes.length
  }

  u16(): number {
    return this.take(2).readUInt16LE(0)
  }

  u32(): number {
    return this.take(4).readUInt32LE(0)
  }

  sized(): Buffer {
    return this.take(this.u32())
  }

  take(length: number): Buffer {
    const isThere = length <= EVENT_LOG_BYTES_MAX && this.#offset + length <= this.#bytes.length
    if (!isThere) refuse('truncated')
    const part = this.#bytes.subarray(this.#offset, this.#offset + length)
    this.#offset += length
    return part
  }
}

function refuse(why: string): never {
  throw new MetabindError('VERIFY_EVENT_LOG', `Found: ${why}.`)
}
