import { MetabindError } from '../errors.ts'
import { comparableUri, URI_CHARACTERS_MAX } from '../format/http-uri.ts'

/** The URL of a request that a proof is for, in the one form that rules are asked about and that stands in the proof. */
export interface ProofUrl {
  /** Without query and fragment (RFC 9449, 4.2). */
  readonly text: string
  readonly scheme: 'http' | 'https'
  /** Host in small letters, and the port if it is not that of the scheme. */
  readonly authority: string
  /** What rules see of the path: a slash at its end counts for nothing. */
  readonly path: string
}

const URL_FORM =
  /^(https?):\/\/((?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d*)?)((?:\/[^?#]*)?)(?:\?[^#]*)?(?:#.*)?$/i
// As in paths of metadata: neither ';', which servers read in different ways, nor an escape of a character that may
// stand plainly (most servers decode it, and a rule that denies the plain one would not see it), or that one server takes
// for a separator or the end of the path and another does not.
const SEGMENT = /^(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-F]{2})+$/
const AMBIGUOUS_ESCAPE = /%(?:[01][0-9A-F]|7F|25|2F|5C|3B|3F|23|2[146-9ABC]|3A|3D|40)/
// What UTF-8 has no such form of, and lax decoders take for a dot or a slash all the same (RFC 3629, 10).
const OVERLONG = /%C[01]%[89AB]|%E0%[89]|%F0%8/

/**
 * Reads the URL of a request. What two servers, or a server and the rules, might read in two ways is refused: a proof for
 * one path must not be good for another.
 *
 * @throws MetabindError PROOF_URL
 */
export function readProofUrl(written: string): ProofUrl {
  if (written.length > URI_CHARACTERS_MAX) refuse('longer than 2048')
  const [, scheme = '', host = '', path = ''] = URL_FORM.exec(written) ?? refuse('of another form')
  const authority = withoutDefaultPort(scheme.toLowerCase(), host.toLowerCase())
  if (/^\.|\.(?:\.|:|$)/.test(authority)) refuse('an empty label in the host, or a dot at its end')
  if (path !== '/' && path !== '') requireSegments(path.slice(1))
  const text = `${scheme.toLowerCase()}://${authority}${path === '' ? '/' : path}`
  // A second reader, by the rules of browsers: numbers for addresses, dot segments, escapes.
  if (comparableUri(text) !== text) refuse('not in normal form')
  return {
    text,
    scheme: scheme.length === 5 ? 'https' : 'http',
    authority,
    path: path.replace(/\/$/, '') || '/',
  }
}

function withoutDefaultPort(scheme: string, authority: string): string {
  const ends = scheme === 'https' ? /:(?:443)?$/ : /:(?:80)?$/
  return authority.replace(ends, '')
}

/** @param path without the slash at its beginning */
function requireSegments(path: string): void {
  for (const segment of path.replace(/\/$/, '').split('/')) {
    if (!SEGMENT.test(segment)) refuse('a character in the path, or an empty segment')
    if (AMBIGUOUS_ESCAPE.test(segment) || OVERLONG.test(segment)) refuse('an escape in the path')
  }
}

function refuse(why: string): never {
  throw new MetabindError('PROOF_URL', why)
}
