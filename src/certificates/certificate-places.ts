import type { Certificate } from './certificate.ts'
import { type DerNode, parseDer } from './der.ts'
import { EXTENSION } from './extension-oids.ts'

/** Where a certificate says that its issuer's certificate and lists are: URLs, which nobody opens here. */

const CA_ISSUERS = Buffer.from('2b06010505073002', 'hex')
const URI = 0x86
const DISTRIBUTION_POINT = 0xa0
const FULL_NAME = 0xa0
const URLS_MAX = 8

/** Of authorityInfoAccess (RFC 5280 4.2.2.1). @throws MetabindError VERIFY_CERTIFICATE */
export function issuerUrls(certificate: Certificate): readonly string[] {
  return membersOf(certificate, EXTENSION.authorityInfoAccess)
    .filter(({ children: [method] }) => method?.content.equals(CA_ISSUERS) === true)
    .flatMap(({ children: [, location] }) => urlsIn([location]))
    .slice(0, URLS_MAX)
}

/** Of cRLDistributionPoints (RFC 5280 4.2.1.13). @throws MetabindError VERIFY_CERTIFICATE */
export function crlUrls(certificate: Certificate): readonly string[] {
  return membersOf(certificate, EXTENSION.crlDistributionPoints)
    .flatMap(({ children }) => children.filter(({ tag }) => tag === DISTRIBUTION_POINT))
    .flatMap(({ children }) => children.filter(({ tag }) => tag === FULL_NAME))
    .flatMap(({ children }) => urlsIn(children))
    .slice(0, URLS_MAX)
}

function membersOf(certificate: Certificate, oid: string): readonly DerNode[] {
  const extension = certificate.extensions.get(oid)
  return extension === undefined ? [] : parseDer(extension.value).children
}

function urlsIn(names: readonly (DerNode | undefined)[]): string[] {
  return names.flatMap((name) => (name?.tag === URI ? [name.content.toString('latin1')] : []))
}
