/**
 * UEFI variables as firmware and shim measure them: UEFI_VARIABLE_DATA (TCG PC Client Platform Firmware Profile 1.05,
 * 10.2.6), and the signature databases in them (UEFI 2.10, 32.4.1).
 */

export const EFI_GLOBAL_VARIABLE = '8be4df61-93ca-11d2-aa0d-00e098032b8c'
export const EFI_IMAGE_SECURITY_DATABASE = 'd719b2cb-3d3a-4596-a3bc-dad00e67656f'
export const SHIM_LOCK = '605dab50-e046-4300-abb6-3dd810dd8b23'
const EFI_CERT_SHA256 = 'c1c41626-504c-4092-aca9-41f936934328'

const GUID_BYTES = 16
/** GUID, then the lengths of name (in characters) and contents (in bytes), u64 each. */
const VARIABLE_HEAD_BYTES = 32
/** GUID of the type, then the sizes of the list, of its header and of an entry, u32 each. */
const LIST_HEAD_BYTES = 28

export interface UefiVariable {
  /** GUID of who gave the variable its name. */
  readonly vendor: string
  readonly name: string
  readonly contents: Buffer
}

/** What the compiler puts behind the structure in old versions of shim, which measure it too. */
const PADDING_BYTES_MAX = 7

/** The variable that these bytes are, with no more than padding behind it; undefined if they are none. */
export function parseUefiVariable(bytes: Buffer): UefiVariable | undefined {
  if (bytes.length < VARIABLE_HEAD_BYTES) return undefined
  const nameBytes = 2n * bytes.readBigUInt64LE(GUID_BYTES)
  const contentsBytes = bytes.readBigUInt64LE(GUID_BYTES + 8)
  const end = BigInt(VARIABLE_HEAD_BYTES) + nameBytes + contentsBytes
  if (end > BigInt(bytes.length)) return undefined
  const padding = bytes.subarray(Number(end))
  if (padding.length > PADDING_BYTES_MAX || padding.some((byte) => byte !== 0)) return undefined
  const nameEnd = VARIABLE_HEAD_BYTES + Number(nameBytes)
  return {
    vendor: guidAt(bytes, 0),
    name: bytes.toString('utf16le', VARIABLE_HEAD_BYTES, nameEnd),
    contents: bytes.subarray(nameEnd, Number(end)),
  }
}

/** SHA-256 hashes of images in the lists of a signature database, in hex; undefined if it is malformed. */
export function imageHashesIn(database: Buffer): ReadonlySet<string> | undefined {
  const hashes = new Set<string>()
  for (let at = 0; at < database.length; ) {
    const list = listAt(database, at)
    if (list === undefined) return undefined
    if (list.type === EFI_CERT_SHA256) {
      for (const entry of list.entries) hashes.add(entry.toString('hex', GUID_BYTES))
    }
    at += list.bytes
  }
  return hashes
}

function listAt(database: Buffer, at: number) {
  if (database.length - at < LIST_HEAD_BYTES) return undefined
  const [bytes, headBytes, entryBytes] = [16, 20, 24].map((field) =>
    database.readUInt32LE(at + field),
  ) as [number, number, number]
  const first = LIST_HEAD_BYTES + headBytes
  const fits = bytes >= first && bytes <= database.length - at && entryBytes > GUID_BYTES
  if (!fits || (bytes - first) % entryBytes !== 0) return undefined
  const entries: Buffer[] = []
  for (let from = at + first; from < at + bytes; from += entryBytes) {
    entries.push(database.subarray(from, from + entryBytes))
  }
  return { type: guidAt(database, at), bytes, entries }
}

/** The first three fields of a GUID are little-endian. */
function guidAt(bytes: Buffer, at: number): string {
  const reversed = (from: number, to: number) =>
    Buffer.from(bytes.subarray(at + from, at + to))
      .reverse()
      .toString('hex')
  const rest = [bytes.toString('hex', at + 8, at + 10), bytes.toString('hex', at + 10, at + 16)]
  return [reversed(0, 4), reversed(4, 6), reversed(6, 8), ...rest].join('-')
}
