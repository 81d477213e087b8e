import { parseEventLog, replayEventLog } from '../../src/format/event-log.ts'
import { replayedPcrs } from '../../src/measurements/pcr-replay.ts'
import type { Measurements } from '../../src/measurements/proven-events.ts'
import { type LoggedEvent, makeEventLog } from './event-log.ts'

/** Events as firmware, shim, GRUB and systemd-stub log them. */

export const TYPE = {
  separator: 4,
  tag: 6,
  ipl: 0x0d,
  driverConfig: 0x8000_0001,
  application: 0x8000_0003,
  action: 0x8000_0007,
  authority: 0x8000_00e0,
} as const

export const GUID = {
  global: '61dfe48bca93d211aa0d00e098032b8c',
  database: 'cbb219d73a3d9645a3bcdad00e67656f',
  shim: '50ab5d6046e00043abb63dd810dd8b23',
  sha256: '2616c4c14c509240aca941f936934328',
  x509: 'a159c0a5e494a74a87b5ab155c2bf072',
  owner: 'bd9afa775903324dbd6028f4e78f784b',
} as const

/** UEFI_VARIABLE_DATA. */
export function variable(vendor: string, name: string, contents: Buffer): Buffer {
  const lengths = Buffer.alloc(16)
  lengths.writeBigUInt64LE(BigInt(name.length), 0)
  lengths.writeBigUInt64LE(BigInt(contents.length), 8)
  return Buffer.concat([
    Buffer.from(vendor, 'hex'),
    lengths,
    Buffer.from(name, 'utf16le'),
    contents,
  ])
}

/** EFI_SIGNATURE_LIST: entries of one length, each behind the GUID of its owner. */
export function signatureList(type: string, entries: readonly Buffer[]): Buffer {
  const bytes = 16 + (entries[0]?.length ?? 0)
  const head = Buffer.alloc(12)
  head.writeUInt32LE(28 + bytes * entries.length, 0)
  head.writeUInt32LE(bytes, 8)
  return Buffer.concat([
    Buffer.from(type, 'hex'),
    head,
    ...entries.flatMap((entry) => [Buffer.from(GUID.owner, 'hex'), entry]),
  ])
}

export const separator = (pcr: number, value = '00000000'): LoggedEvent => ({
  pcr,
  type: TYPE.separator,
  data: Buffer.from(value, 'hex'),
})

export const config = (name: string, contents: Buffer): LoggedEvent => {
  const vendor = name.startsWith('db') ? GUID.database : GUID.global
  return { pcr: 7, type: TYPE.driverConfig, data: variable(vendor, name, contents) }
}

export const secureBoot = (value: number) => config('SecureBoot', Buffer.of(value))

/** That the entry of `db` with this certificate verified an image. */
export const verifiedBy = (certificate: Buffer, database = 'db'): LoggedEvent => ({
  pcr: 7,
  type: TYPE.authority,
  data: variable(
    GUID.database,
    database,
    Buffer.concat([Buffer.from(GUID.owner, 'hex'), certificate]),
  ),
})

export const shimState = (name: string, contents: Buffer): LoggedEvent => ({
  pcr: 7,
  type: TYPE.authority,
  data: variable(GUID.shim, name, contents),
})

/** An image, which is measured by its Authenticode hash: the data says where it lay. */
export const application = (image: string): LoggedEvent => ({
  pcr: 4,
  type: TYPE.application,
  data: Buffer.alloc(32),
  measured: image,
})

export const grub = (label: string, string: string): LoggedEvent => ({
  pcr: 8,
  type: TYPE.ipl,
  data: `${label}: ${string}\0`,
  measured: string,
})

/** What GRUB measures of one `linux` command. */
export const grubLinux = (line: string): LoggedEvent[] => [
  grub('grub_cmd', `linux ${line}`),
  grub('kernel_cmdline', line),
]

export const stub = (line: string): LoggedEvent => ({
  pcr: 12,
  type: TYPE.ipl,
  data: Buffer.from(`${line}\0`, 'utf16le'),
})

/** A quote of what these events lead to, with their log. */
export function measurementsOf(events: readonly LoggedEvent[]): Measurements {
  const log = makeEventLog(events)
  const quoted = replayEventLog(log)
  const logs = { firmware: parseEventLog(log), systemd: [], ima: [], cel: [], leftOut: [] }
  return { quoted, replayed: replayedPcrs(logs, quoted), signatures: [] }
}
