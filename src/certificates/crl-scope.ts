import { MetabindError } from '../errors.ts'
import type { Certificate } from './certificate.ts'
import { basicConstraints } from './certificate-extensions.ts'
import { type DerNode, parseDer } from './der.ts'
import { EXTENSION } from './extension-oids.ts'

/** Which of its issuer's certificates a list is about (issuingDistributionPoint, RFC 5280 5.2.5). */
export interface CrlScope {
  /** Only those that name one of these places, each a GeneralName as DER in hex. */
  readonly places?: ReadonlySet<string>
  readonly only?: 'users' | 'authorities' | 'attributes'
}

const TAG = {
  sequence: 0x30,
  distributionPoint: 0xa0,
  fullName: 0xa0,
  onlyUsers: 0x81,
  onlyAuthorities: 0x82,
  onlySomeReasons: 0x83,
  indirect: 0x84,
  onlyAttributes: 0x85,
} as const

const ONLY: ReadonlyMap<number, NonNullable<CrlScope['only']>> = new Map([
  [TAG.onlyUsers, 'users'],
  [TAG.onlyAuthorities, 'authorities'],
  [TAG.onlyAttributes, 'attributes'],
])

/**
 * @param value of the extension, if there is one; without it a list is about all certificates
 * @throws MetabindError VERIFY_CRL_FILE if the scope is none that is understood
 */
export function scopeOf(value: Buffer | undefined): CrlScope {
  if (value === undefined) return {}
  const { tag, children } = parseDer(value)
  if (tag !== TAG.sequence) refuse('its scope')
  let scope: CrlScope = {}
  for (const child of children) scope = withField(scope, child)
  return scope
}

function withField(scope: CrlScope, field: DerNode): CrlScope {
  if (field.tag === TAG.distributionPoint && scope.places === undefined) {
    const places = fullNameOf(field)
    return places === undefined ? refuse('a scope by a relative name') : { ...scope, places }
  }
  if (field.tag === TAG.indirect) refuse('an indirect CRL')
  if (field.tag === TAG.onlySomeReasons) refuse('a CRL of some reasons only')
  const only = ONLY.get(field.tag)
  if (only === undefined || scope.only !== undefined || !field.content.equals(Buffer.of(0xff))) {
    return refuse('its scope')
  }
  return { ...scope, only }
}

/** DistributionPointName: fullName, GeneralNames; undefined for one relative to the issuer's. */
function fullNameOf({ children: [name, ...more] }: DerNode): ReadonlySet<string> | undefined {
  if (name?.tag !== TAG.fullName || more.length > 0) return undefined
  return new Set(name.children.map(({ bytes }) => bytes.toString('hex')))
}

/** Whether a list of this scope would have the certificate, if it were revoked. @throws MetabindError VERIFY_CERTIFICATE */
export function isInScope({ places, only }: CrlScope, certificate: Certificate): boolean {
  if (only === 'attributes') return false
  const isAuthority = basicConstraints(certificate)?.ca === true
  if (only !== undefined && isAuthority !== (only === 'authorities')) return false
  return places === undefined || placesOf(certificate).some((place) => places.has(place))
}

/** Where the certificate says that its lists are: all reasons, and of the issuer itself (4.2.1.13). */
function placesOf(certificate: Certificate): readonly string[] {
  const extension = certificate.extensions.get(EXTENSION.crlDistributionPoints)
  if (extension === undefined) return []
  return parseDer(extension.value).children.flatMap(({ children: [point, ...more] }) => {
    const isWhole = point?.tag === TAG.distributionPoint && more.length === 0
    return isWhole ? [...(fullNameOf(point) ?? [])] : []
  })
}

function refuse(what: string): never {
  throw new MetabindError('VERIFY_CRL_FILE', `Found: ${what}.`)
}
