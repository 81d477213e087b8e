/**
 * The patterns of a policy. All are anchored at both ends, and none has a second reading: `*` stands
 * for a whole path segment, or for any run of characters inside a name or a segment, and never for
 * a slash; `/**` at the end of a path stands for what is there and everything below it.
 */
export interface Pattern {
  /** As it was written. */
  readonly text: string
  matches(value: string): boolean
}

/** A pattern of canonical metadata paths. */
export interface PathPattern extends Pattern {
  readonly segments: readonly string[]
  /** Whether it ends in `/**`. */
  readonly andBelow: boolean
}

/** A pattern that cannot be one. The message says why and what to write. */
export class PatternProblem extends Error {
  override readonly name = 'PatternProblem'
}

const PATTERN_CHARACTERS_MAX = 1024
const AUDIENCE = /^[\x21-\x7e]+$/
const PATH_SEGMENT = /^[A-Za-z0-9._~!$&'()+,=:@-]+$/

/**
 * A pattern of canonical paths, such as `/latest/meta-data/**`.
 *
 * @throws PatternProblem for what no canonical path can match, so that no rule is dead by a slip
 */
export function pathPattern(text: string): PathPattern {
  requireLength(text)
  if (!text.startsWith('/')) throw new PatternProblem('must begin with a slash')
  const andBelow = text.endsWith('/**')
  const head = andBelow ? text.slice(0, -3) : text
  const segments = head === '' || text === '/' ? [] : head.slice(1).split('/')
  for (const segment of segments) requirePathSegment(segment)
  const whole = pathRegExp(segments, andBelow)
  return { text, segments, andBelow, matches: (path) => whole.test(path) }
}

/** A pattern of names without slashes, such as units and containers: `app@*.service`. */
export function namePattern(text: string): Pattern {
  requireLength(text)
  const pieces = text.split('*')
  if (text === '' || text.includes('/')) throw new PatternProblem('must be a name without slashes')
  if (text.includes('**')) throw new PatternProblem('must have single asterisks')
  return { text, matches: (name) => matchesPieces(pieces, name) }
}

/** A pattern of files, such as `/usr/bin/app-*`: as many segments as it is written with. */
export function filePattern(text: string): Pattern {
  requireLength(text)
  const segments = text.slice(1).split('/')
  if (!text.startsWith('/') || segments.some((name) => ['', '.', '..'].includes(name))) {
    throw new PatternProblem('must be an absolute path without empty or dot segments')
  }
  if (text.includes('**')) throw new PatternProblem('must have single asterisks')
  const pieces = segments.map((segment) => segment.split('*'))
  return { text, matches: (file) => matchesFile(pieces, file) }
}

// What ends the host of a URL, beside a slash, or stands before it.
const OF_URLS = /[?#@\\]/g

/**
 * A pattern of audiences, which often are URLs: `https://*.example/login`. Its asterisks match no slash, and in a URL
 * nothing that makes another host of what stands before it.
 */
export function audiencePattern(text: string): Pattern {
  requireLength(text)
  if (!AUDIENCE.test(text)) throw new PatternProblem('must be printable ASCII without blanks')
  if (text.includes('**')) throw new PatternProblem('must have single asterisks')
  const pieces = text.split('/').map((segment) => segment.split('*'))
  const endings = (of: string) => of.match(OF_URLS)?.length ?? 0
  const isUrl = text.includes('://')
  const own = endings(text)
  return {
    text,
    matches: (audience) =>
      matchesSegments(pieces, audience.split('/')) && (!isUrl || endings(audience) === own),
  }
}

/** Whether there is a path that both match. */
export function overlap(one: PathPattern, other: PathPattern): boolean {
  const common = Math.min(one.segments.length, other.segments.length)
  for (let at = 0; at < common; at += 1) {
    const [a, b] = [one.segments[at], other.segments[at]]
    if (a !== b && a !== '*' && b !== '*') return false
  }
  const [shorter, longer] = one.segments.length === common ? [one, other] : [other, one]
  return shorter.segments.length === longer.segments.length || shorter.andBelow
}

function requireLength(text: string): void {
  if (text.length > PATTERN_CHARACTERS_MAX) throw new PatternProblem('is longer than 1024')
}

function requirePathSegment(segment: string): void {
  if (segment === '') {
    throw new PatternProblem(
      "must have no slash at its end and no two in a row; '/**' is all below",
    )
  }
  if (segment === '**') throw new PatternProblem("must have '**' at its end only")
  if (segment === '.' || segment === '..') throw new PatternProblem('must have no dot segments')
  if (segment !== '*' && !PATH_SEGMENT.test(segment)) {
    throw new PatternProblem(`cannot match: '${segment}' is neither a plain path segment nor '*'`)
  }
}

/** Asked for each rule at each request, and ten times as quick as taking the path apart. */
function pathRegExp(segments: readonly string[], andBelow: boolean): RegExp {
  const plain = (segment: string) => segment.replaceAll(/[^A-Za-z0-9]/g, String.raw`\$&`)
  const parts = segments.map((segment) => `/${segment === '*' ? '[^/]+' : plain(segment)}`)
  if (andBelow) return new RegExp(`^${parts.join('')}(?:/.*)?$`, 's')
  return new RegExp(`^${parts.join('') || '/'}$`)
}

function matchesFile(pieces: readonly (readonly string[])[], file: string): boolean {
  return file.startsWith('/') && matchesSegments(pieces, file.slice(1).split('/'))
}

function matchesSegments(
  pieces: readonly (readonly string[])[],
  segments: readonly string[],
): boolean {
  if (segments.length !== pieces.length) return false
  return pieces.every((piece, at) => matchesPieces(piece, segments[at] ?? ''))
}

/** What stands between asterisks, found from left to right: linear, where a RegExp may backtrack. */
function matchesPieces(pieces: readonly string[], text: string): boolean {
  const [first = '', ...rest] = pieces
  const last = rest.pop()
  if (last === undefined) return text === first
  const end = text.length - last.length
  if (!text.startsWith(first) || !text.endsWith(last) || end < first.length) return false
  let at = first.length
  for (const piece of rest) {
    const found = text.indexOf(piece, at)
    if (found < 0 || found + piece.length > end) return false
    at = found + piece.length
  }
  return true
}
