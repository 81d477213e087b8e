import { MetabindError } from '../errors.ts'

/** Native paths whose answer is for somebody elsewhere: their query says for whom, and rules may name it. */

export const IDENTITY_PATH = '/metabind/v1/identity'
/** Tokens that the registrar of the fleet signs. */
export const FLEET_TOKEN_PATH = '/metabind/v1/token'

/** What else may stand in the query. */
const PARAMETERS: Readonly<Record<string, readonly string[]>> = {
  [IDENTITY_PATH]: ['audience'],
  [FLEET_TOKEN_PATH]: ['audience', 'format'],
}
export const AUDIENCE_PATHS: readonly string[] = Object.keys(PARAMETERS)

/** What is asked for on such a path. */
export interface AskedFor {
  readonly audience: string
  /** As it was written; undefined if it was left out. */
  readonly format: string | undefined
}

// Encoded, each character may take three.
const VALUE = /^[A-Za-z0-9._~!$'()*,:@/%-]{1,768}$/
const AUDIENCE = /^[\x21-\x7e]{1,256}$/

/**
 * Reads the query of a path that takes an audience: each parameter once, in any order, percent-encoded if need be. An
 * audience has 1 to 256 printable characters of ASCII once decoded.
 *
 * @param path canonical
 * @returns undefined if the path takes none
 * @throws MetabindError REQUEST_QUERY
 */
export function askedFor(path: string, query: string | undefined): AskedFor | undefined {
  const known = PARAMETERS[path]
  if (known === undefined) return undefined
  const given = new Map<string, string>()
  for (const part of (query ?? '').split('&')) {
    const [name = '', value = ''] = splitOnce(part)
    if (!known.includes(name) || given.has(name)) throw new MetabindError('REQUEST_QUERY')
    given.set(name, decoded(value))
  }
  const audience = given.get('audience') ?? ''
  if (!AUDIENCE.test(audience)) throw new MetabindError('REQUEST_QUERY')
  return { audience, format: given.get('format') }
}

/** The target that asks about an audience, as `metabind explain` and the status page take it. */
export function targetFor(path: string, audience: string | undefined): string {
  return audience === undefined ? path : `${path}?audience=${encodeURIComponent(audience)}`
}

function splitOnce(part: string): readonly string[] {
  const at = part.indexOf('=')
  return at < 0 ? [part] : [part.slice(0, at), part.slice(at + 1)]
}

function decoded(value: string): string {
  if (!VALUE.test(value)) throw new MetabindError('REQUEST_QUERY')
  try {
    return decodeURIComponent(value)
  } catch {
    throw new MetabindError('REQUEST_QUERY')
  }
}
