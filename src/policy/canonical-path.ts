import { MetabindError } from '../errors.ts'

/** Longest request target accepted, in bytes. Metadata paths are short; an audience adds at most 1 KiB. */
export const TARGET_BYTES_MAX = 2048

/** A request target in the one form that is authorized, looked up and sent upstream. */
export interface CanonicalTarget {
  /** Starts with a slash, has no empty or dot segment, no trailing slash (but `/` itself), no escapes. */
  readonly path: string
  /** What stood after the question mark, undefined if that is nothing. Not decoded. */
  readonly query: string | undefined
}

// The characters of RFC 3986 path segments, without ';' (matrix parameters are read differently by
// different servers) and without '%' (a second decoding must have nothing to decode).
const SEGMENT = /^[A-Za-z0-9._~!$&'()*+,=:@-]*$/
const ESCAPE = /%[0-9A-Fa-f]{2}/g
// What nearly every request sends: canonical as it came, by the same characters and with no dot segment.
const CANONICAL = /^(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._~!$&'()*+,=:@-]+)+$/
const QUERY = /^[A-Za-z0-9._~!$&'()*+,=:@/?%-]*$/

// An instance has a few dozen paths, which are read again and again. Forgetting them costs a look at the next.
const REMEMBERED_MAX = 256
const REMEMBERED_CHARACTERS_MAX = 128
const canonicalOnes = new Map<string, CanonicalTarget>()

/**
 * Brings a request target (the second word of the request line) into canonical form, or refuses it.
 * Checker and upstream must never read one target in two ways, so anything doubtful is refused:
 * dot segments, encoded dots, slashes and backslashes, NUL, absolute form, fragments, double
 * encoding. Repeated slashes are collapsed and a trailing slash is dropped, because the real
 * clients send both (protocol of ECS: a directory answers with and without it).
 *
 * @throws MetabindError REQUEST_PATH
 */
export function canonicalTarget(target: string): CanonicalTarget {
  if (target.length > TARGET_BYTES_MAX) throw new MetabindError('REQUEST_PATH', 'longer than 2048')
  const known = canonicalOnes.get(target)
  if (known !== undefined) return known
  if (CANONICAL.test(target)) return remember({ path: target, query: undefined })
  if (!target.startsWith('/')) throw new MetabindError('REQUEST_PATH', 'not an absolute path')
  const mark = target.indexOf('?')
  const rawPath = mark < 0 ? target : target.slice(0, mark)
  const query = mark < 0 ? '' : target.slice(mark + 1)
  if (!QUERY.test(query)) throw new MetabindError('REQUEST_PATH', 'a character in the query')
  const segments = rawPath.split('/').filter((segment) => segment !== '')
  const path = `/${segments.map(canonicalSegment).join('/')}`
  return { path, query: query === '' ? undefined : query }
}

function remember(target: CanonicalTarget): CanonicalTarget {
  if (target.path.length > REMEMBERED_CHARACTERS_MAX) return target
  if (canonicalOnes.size >= REMEMBERED_MAX) canonicalOnes.clear()
  canonicalOnes.set(target.path, target)
  return target
}

function canonicalSegment(raw: string): string {
  const segment = raw.replace(ESCAPE, decodeHarmless)
  if (!SEGMENT.test(segment)) throw new MetabindError('REQUEST_PATH', 'a character in the path')
  if (segment === '.' || segment === '..') throw new MetabindError('REQUEST_PATH', 'dot segment')
  return segment
}

/** Decodes an escape only if the character may also stand plainly; dots may not hide in escapes. */
function decodeHarmless(escaped: string): string {
  const character = String.fromCharCode(Number.parseInt(escaped.slice(1), 16))
  return character !== '.' && SEGMENT.test(character) ? character : escaped
}
