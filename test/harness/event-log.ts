import { createHash } from 'node:crypto'

/** Writes crypto-agile event logs (TCG PC Client Platform Firmware Profile, 10). */

export interface LoggedEvent {
  readonly pcr: number
  readonly type?: number
  readonly data: string | Buffer
  /** What was measured, if it is not the data. */
  readonly measured?: string | Buffer
}

const EV_SEPARATOR = 4
const EV_NO_ACTION = 3

export const EV_EFI_HCRTM_EVENT = 0x8000_0010

const BANKS = { sha1: { id: 0x0004, bytes: 20 }, sha256: { id: 0x000b, bytes: 32 } } as const
type Bank = keyof typeof BANKS

export function makeEventLog(events: readonly LoggedEvent[], bank: Bank = 'sha256'): Buffer {
  return Buffer.concat([specId(bank), ...events.map((event) => encodeEvent(event, bank))])
}

/** A log in the form of TPM 1.2: SHA-1, and no header. */
export function makeSha1Log(events: readonly LoggedEvent[]): Buffer {
  const encoded = events.map((event) => {
    const { pcr, type = EV_SEPARATOR, data } = event
    const head = [u32(pcr), u32(type), measured(event, 'sha1')]
    return Buffer.concat([...head, sized(data)])
  })
  return Buffer.concat(encoded)
}

/** StartupLocality (PC Client Platform Firmware Profile 1.06, 10). */
export function startupLocality(locality: number): LoggedEvent {
  const data = `StartupLocality\0${String.fromCharCode(locality)}`
  return { pcr: 0, type: EV_NO_ACTION, data }
}

/** What the event is measured as. */
export function measured(event: LoggedEvent, bank: Bank = 'sha256'): Buffer {
  return createHash(bank)
    .update(event.measured ?? event.data)
    .digest()
}

function specId(bank: Bank): Buffer {
  const event = Buffer.concat([
    Buffer.from('Spec ID Event03\0'),
    u32(0),
    Uint8Array.of(0, 2, 0, 2),
    u32(1),
    u16(BANKS[bank].id),
    u16(BANKS[bank].bytes),
    Uint8Array.of(0),
  ])
  return Buffer.concat([u32(0), u32(EV_NO_ACTION), Buffer.alloc(20), u32(event.length), event])
}

function encodeEvent(event: LoggedEvent, bank: Bank): Buffer {
  const { pcr, type = EV_SEPARATOR, data } = event
  const head = [u32(pcr), u32(type), u32(1), u16(BANKS[bank].id), measured(event, bank)]
  return Buffer.concat([...head, sized(data)])
}

function sized(data: string | Buffer): Buffer {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data
  return Buffer.concat([u32(bytes.length), bytes])
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(value)
  return bytes
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
