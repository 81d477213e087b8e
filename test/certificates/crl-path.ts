import { type Certificate, parseCertificate } from '../../src/certificates/certificate.ts'
import { type Crl, parseCrl } from '../../src/certificates/crl.ts'
import { byIssuer, isCoveredByCrls, requireNotRevoked } from '../../src/certificates/revocation.ts'
import { CA_EXTENSIONS, ext, type Issuer, makeAuthority } from '../harness/certificate.ts'
import { type CrlFields, makeCrl } from '../harness/crl.ts'
import { detailOf, NOW } from '../harness/verify-case.ts'

/** A path of three, and what is said of it by lists that its authorities could have signed. */

export const ROOT_KEY_ID = Buffer.alloc(20, 7)
export const root = makeAuthority('Root', {
  extensions: [...CA_EXTENSIONS, ext.subjectKeyIdentifier(ROOT_KEY_ID)],
})
/** Its certificate names no key of its own. */
export const below = makeAuthority('Below', {}, root)

export const parsed = ({ der }: Issuer) => parseCertificate(der)
export const ROOT = parsed(root)
export const BELOW = parsed(below)
export const LEAF = parsed(makeAuthority('Leaf', {}, below))
/** A certificate of this issuer, and the issuer's own. */
export const pathBelow = (issuer: Issuer, name = 'User') => [
  parsed(makeAuthority(name, {}, issuer)),
  parsed(issuer),
]

export function listOf(issuer: Issuer, fields: Partial<CrlFields> = {}): Crl {
  return parseCrl(makeCrl({ issuer, ...fields }))
}

interface Asked {
  readonly path?: readonly Certificate[]
  readonly demandCrls?: boolean
  readonly nowMs?: number
}

/** Whether lists cover the path. @throws MetabindError of requireNotRevoked */
export function isCoveredBy(lists: readonly Crl[], asked: Asked = {}): boolean {
  const { path = [LEAF, BELOW, ROOT], demandCrls = false, nowMs = NOW.getTime() } = asked
  const crls = byIssuer(lists)
  requireNotRevoked(path, { crls, demandCrls }, nowMs)
  return isCoveredByCrls(path, crls, nowMs)
}

export function refusalBy(lists: readonly Crl[], asked?: Asked): string {
  return detailOf(() => isCoveredBy(lists, asked))
}

/** As refusals name it. */
export function nameOf({ fingerprint }: Certificate): string {
  return `certificate ${fingerprint.slice(0, 16)}…`
}
