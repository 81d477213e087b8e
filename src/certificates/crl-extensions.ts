import { MetabindError } from '../errors.ts'
import type { CertificateExtension } from './certificate.ts'
import { type DerElement, derElements } from './der.ts'

export type CrlExtension = CertificateExtension

const SEQUENCE = 0x30
const OBJECT_IDENTIFIER = 0x06
const BOOLEAN = 0x01
const OCTET_STRING = 0x04

/** Extensions of a list or of an entry, by OID. @throws MetabindError VERIFY_CERTIFICATE */
export function crlExtensions({ content }: DerElement): ReadonlyMap<string, CrlExtension> {
  const extensions = new Map<string, CrlExtension>()
  for (const extension of derElements(content)) {
    if (extension.tag !== SEQUENCE) malformed('an extension is none')
    const members = [...derElements(extension.content)]
    const oid = oidOf(members.shift())
    // DER has FF for true; what another encoder had to say with less than all bits is no less critical.
    const critical = members[0]?.tag === BOOLEAN && members.shift()?.content[0] !== 0
    const [value, ...more] = members
    if (value?.tag !== OCTET_STRING || more.length > 0) malformed('an extension is none')
    if (extensions.has(oid)) malformed('an extension stands twice')
    extensions.set(oid, { critical, value: value.content })
  }
  return extensions
}

/**
 * An OBJECT IDENTIFIER in the usual digits. It has one writing only (X.690 8.19.2): no arc begins with
 * zeros, and the last one ends.
 *
 * @throws MetabindError VERIFY_CERTIFICATE
 */
export function oidOf(element: DerElement | undefined): string {
  if (element?.tag !== OBJECT_IDENTIFIER || element.content.length > 32) malformed('no OID')
  if ((element.content.at(-1) ?? 0x80) >= 0x80) malformed('no OID')
  const arcs: bigint[] = []
  let arc = 0n
  for (const byte of element.content) {
    if (byte === 0x80 && arc === 0n) malformed('no OID')
    arc = (arc << 7n) | BigInt(byte & 0x7f)
    if (byte >= 0x80) continue
    arcs.push(arc)
    arc = 0n
  }
  const [first = 0n, ...rest] = arcs
  const top = first < 40n ? 0n : first < 80n ? 1n : 2n
  return [top, first - top * 40n, ...rest].join('.')
}

function malformed(what: string): never {
  throw new MetabindError('VERIFY_CERTIFICATE', `DER: ${what}.`)
}
