import type { DerNode } from './der.ts'

/**
 * Distinguished names, to be compared (RFC 5280 7.1). An authority may have written its name as
 * PrintableString in its own certificate and as UTF8String in those that it issued. Names only lead to
 * the next certificate: whether it issued this one, the signature says.
 */

/** String types that are compared as text: those that RFC 5280 has in names, and all that there are. */
const NAME_TYPES: StringTypes = new Map([
  [0x0c, (content) => content.toString('utf8')],
  [0x13, (content) => content.toString('utf8')],
])
const ALL_TYPES: StringTypes = new Map([
  ...NAME_TYPES,
  // NumericString, TeletexString, IA5String, VisibleString, UniversalString, BMPString.
  [0x12, (content) => content.toString('latin1')],
  [0x14, (content) => content.toString('latin1')],
  [0x16, (content) => content.toString('latin1')],
  [0x1a, (content) => content.toString('latin1')],
  [0x1c, (content) => charactersOf(content, 4)],
  [0x1e, (content) => charactersOf(content, 2)],
])

type StringTypes = ReadonlyMap<number, (content: Buffer) => string>

/** Equal for names that are the same: string type, case, and blanks that mean nothing do not count. */
export function comparableName(name: DerNode): string {
  return JSON.stringify(comparableRdns(name))
}

/** The same of each RDN. */
export function comparableRdns(name: DerNode): readonly string[] {
  return rdnsOf(name, NAME_TYPES)
}

/** As comparableRdns, but no string type keeps two texts apart: for what must not be named at all. */
export function looselyComparableRdns(name: DerNode): readonly string[] {
  return rdnsOf(name, ALL_TYPES)
}

/** The usual short names (RFC 4514, 3), in hex of their OIDs. */
const SHORT_NAMES: ReadonlyMap<string, string> = new Map([
  ['550403', 'CN'],
  ['550405', 'serialNumber'],
  ['550406', 'C'],
  ['550407', 'L'],
  ['550408', 'ST'],
  ['55040a', 'O'],
  ['55040b', 'OU'],
])

/** For people: `C=…, O=…, CN=…`, in the order of the certificate. The texts are whatever its maker wrote. */
export function readableName({ children }: DerNode): string {
  return children.map((rdn) => rdn.children.map(readableAttribute).join(' + ')).join(', ')
}

function readableAttribute({ children: [type, value] }: DerNode): string {
  const oid = type?.content.toString('hex') ?? ''
  const text = value && ALL_TYPES.get(value.tag)?.(value.content)
  return `${SHORT_NAMES.get(oid) ?? `#${oid}`}=${text ?? `#${value?.content.toString('hex') ?? ''}`}`
}

function rdnsOf({ children }: DerNode, types: StringTypes): readonly string[] {
  // An RDN is a SET: its attributes have no order that means something.
  return children.map((rdn) =>
    JSON.stringify(rdn.children.map((attribute) => comparableAttribute(attribute, types)).sort()),
  )
}

function comparableAttribute({ children: [type, value] }: DerNode, types: StringTypes): string {
  const oid = type?.content.toString('hex') ?? ''
  return `${oid} ${value === undefined ? '' : comparableValue(value, types)}`
}

/** As RFC 4518 prepares strings, near enough. Values of other types are compared byte for byte. */
function comparableValue({ tag, bytes, content }: DerNode, types: StringTypes): string {
  const decode = types.get(tag)
  if (decode === undefined) return `#${bytes.toString('hex')}`
  const text = decode(content).normalize('NFKC').toLowerCase()
  return `"${text.replaceAll(/\s+/g, ' ').trim()}"`
}

/** Big-endian code points of `size` bytes. What is none becomes the replacement character. */
function charactersOf(content: Buffer, size: 2 | 4): string {
  let text = ''
  for (let at = 0; at + size <= content.length; at += size) {
    const code = content.readUIntBE(at, size)
    text += code > 0x10_ffff ? '\ufffd' : String.fromCodePoint(code)
  }
  return text
}
