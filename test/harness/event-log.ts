import { createHash } from 'node:crypto'

/** Writes crypto-agile event logs (TCG PC Client Platform Firmware Profile, 10). */

export interface LoggedEvent {
  readonly pcr: number
  readonly type?: number
  readonly data: string
}

const EV_SEPARATOR = 4
const EV_NO_ACTION = 3

export function makeEventLog(events: readonly LoggedEvent[]): Buffer {
  return Buffer.concat([specId(), ...events.map(encodeEvent)])
}

/** What the event's data is measured as. */
export function measured(event: LoggedEvent): Buffer {
  return createHash('sha256').update(event.data).digest()
}

function specId(): Buffer {
  const event = Buffer.concat([
    Buffer.from('Spec ID Event03\0'),
    u32(0),
    Uint8Array.of(0, 2, 0, 2),
    u32(1),
    u16(0x000b),
    u16(32),
    Uint8Array.of(0),
  ])
  return Buffer.concat([u32(0), u32(EV_NO_ACTION), Buffer.alloc(20), u32(event.length), event])
}

function encodeEvent(event: LoggedEvent): Buffer {
  const { pcr, type = EV_SEPARATOR, data } = event
  const head = [u32(pcr), u32(type), u32(1), u16(0x000b), measured(event)]
  return Buffer.concat([...head, u32(Buffer.byteLength(data)), Buffer.from(data)])
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
