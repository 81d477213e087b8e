import { createHash } from 'node:crypto'
import { parseCertificate } from '../certificates/certificate.ts'
import { commonName } from '../certificates/key-certificate.ts'
import { MetabindError } from '../errors.ts'
import { shownText } from '../format/shown-text.ts'
import type { Authority } from './secure-boot.ts'

const GUID_BYTES = 16
/**
 * The databases that say what may start, as shim names them (its README.tpm). What `dbx` and `MokListX` name was forbidden.
 * Versions 15.7 and later read the list of the machine's owner from its copy, MokListRT.
 */
const ALLOWING: ReadonlySet<string> = new Set(['db', 'MokList', 'MokListRT', 'Shim', 'vendor_db'])

/** One that a policy allows: by the SHA-256 of its certificate or of its whole entry, in hex, or by its name. */
export type AllowedAuthority =
  | { readonly certificate: string }
  | { readonly contents: string }
  | { readonly commonName: string }

/** An authority as a policy sees it. */
interface NamedAuthority {
  readonly database: string
  /** SHA-256 of the whole entry, in hex. */
  readonly contents: string
  /** SHA-256 of its certificate, in hex; undefined if it has none, but is the hash of an image. */
  readonly certificate: string | undefined
  readonly commonName: string | undefined
}

/** The certificate stands behind the GUID of its owner; or, as shim has it at times, without one. */
export function namedAuthority({ database, contents }: Authority): NamedAuthority {
  const found = certificateIn(contents.subarray(GUID_BYTES)) ?? certificateIn(contents)
  return {
    database,
    contents: createHash('sha256').update(contents).digest('hex'),
    certificate: found?.certificate,
    commonName: found?.commonName,
  }
}

export function isAllowed(found: NamedAuthority, allowed: readonly AllowedAuthority[]): boolean {
  if (!ALLOWING.has(found.database)) return false
  return allowed.some((one) => {
    if ('certificate' in one) return found.certificate === one.certificate
    if ('contents' in one) return found.contents === one.contents
    return found.commonName === one.commonName
  })
}

/** For a person to read. */
export function authorityInWords(found: NamedAuthority): string {
  const { database, certificate, commonName: name } = found
  const digest =
    certificate === undefined ? `contents ${found.contents}` : `certificate ${certificate}`
  const named = name === undefined ? '' : `${shownText(name)}, `
  return `${named}${digest}, of ${shownText(database)}`
}

function certificateIn(der: Buffer) {
  try {
    const certificate = parseCertificate(der)
    return { certificate: certificate.fingerprint, commonName: commonName(certificate) }
  } catch (error) {
    if (error instanceof MetabindError) return undefined
    throw error
  }
}
