import type { DerNode } from './der.ts'

/**
 * Distinguished names, to be compared (RFC 5280 7.1). An authority may have written its name as
 * PrintableString in its own certificate and as UTF8String in those that it issued. Names only lead to
 * the next certificate: whether it issued this one, the signature says.
 */

const UTF8_STRING = 0x0c
const PRINTABLE_STRING = 0x13

/** Equal for names that are the same: string type, case, and blanks that mean nothing do not count. */
export function comparableName({ children }: DerNode): string {
  // An RDN is a SET: its attributes have no order that means something.
  return JSON.stringify(children.map((rdn) => rdn.children.map(comparableAttribute).sort()))
}

function comparableAttribute({ children: [type, value] }: DerNode): string {
  const oid = type?.content.toString('hex') ?? ''
  return `${oid} ${value === undefined ? '' : comparableValue(value)}`
}

/** As RFC 4518 prepares strings, near enough. Values of other types are compared byte for byte. */
function comparableValue({ tag, bytes, content }: DerNode): string {
  if (tag !== UTF8_STRING && tag !== PRINTABLE_STRING) return `#${bytes.toString('hex')}`
  const text = content.toString('utf8').normalize('NFKC').toLowerCase()
  return `"${text.replaceAll(/\s+/g, ' ').trim()}"`
}
