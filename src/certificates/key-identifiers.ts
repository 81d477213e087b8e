import { MetabindError } from '../errors.ts'
import { parseDer } from './der.ts'

/**
 * Key identifiers, which lead from a certificate to its issuer (RFC 5280 4.2.1.1, 4.2.1.2). They are
 * read once, when a certificate is parsed: building paths compares them for every pair of certificates.
 */

const OCTET_STRING = 0x04
const SEQUENCE = 0x30
const KEY_IDENTIFIER = 0x80

/** @param value of the extension subjectKeyIdentifier @throws MetabindError VERIFY_CERTIFICATE */
export function subjectKeyIdOf(value: Buffer): Buffer {
  const { tag, content } = parseDer(value)
  return tag === OCTET_STRING ? content : malformed('subjectKeyIdentifier')
}

/**
 * @param value of the extension authorityKeyIdentifier
 * @returns undefined if it names the issuer in another way
 * @throws MetabindError VERIFY_CERTIFICATE
 */
export function authorityKeyIdOf(value: Buffer): Buffer | undefined {
  const { tag, children } = parseDer(value)
  if (tag !== SEQUENCE) malformed('authorityKeyIdentifier')
  return children.find((child) => child.tag === KEY_IDENTIFIER)?.content
}

function malformed(what: string): never {
  throw new MetabindError('VERIFY_CERTIFICATE', `${what} is malformed.`)
}
