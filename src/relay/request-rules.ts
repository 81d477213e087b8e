import type { Dialect } from '../dialect/dialect.ts'
import { MetabindError } from '../errors.ts'
import { type Framing, noteFraming } from '../http/request-order.ts'
import { TTL_SECONDS_MIN } from '../token/claims.ts'

/** The two headers of a request that the relay reads. Everything else of it is only judged. */
export interface RequestHeaders {
  readonly token: string | undefined
  readonly ttl: string | undefined
}

/** All that is asked of the headers of a request. */
export interface ReadHeaders extends Framing {
  token: string | undefined
  ttl: string | undefined
  isForwarded: boolean
  isOfPage: boolean
  /** The last name that came twice and may not; a second Host, token or lifetime would be for somebody else to read. */
  repeated: string | undefined
  /** Whether it says `no-cache`. */
  isNoCache: boolean
}

// A proxy between the caller and us would hide who asks (the cloud refuses X-Forwarded-For on token
// requests; refusing the others, on every route, is ours). Presence counts, not the value: other
// software of this kind let an empty header through.
const FORWARDING = new Set(['forwarded', 'via', 'x-real-ip', 'x-client-ip', 'true-client-ip'])
// What only a web page's request carries: DNS rebinding and cross-site requests end here.
const BROWSER = new Set(['origin', 'referer'])
// fetch() of Node sends this one alone; a browser sends Sec-Fetch-Site and -Dest with it (Fetch
// Metadata, 2), and is known by those.
const OF_EVERY_FETCH = 'sec-fetch-mode'
/** Asks for an answer from the source itself (RFC 9111, 5.2.1.4). */
const NO_CACHE = /(^|[\s,])no-cache($|[\s,=])/i

/**
 * Reads the headers of a request in one pass, as they came: names in any case, repeated ones apart (Node joins
 * or drops repeated headers in its parsed form, which would hide a second token or Host).
 *
 * @param rawHeaders name, value, name, value…
 */
export function readHeaders(
  rawHeaders: readonly string[],
  { tokenHeader, ttlHeader }: Pick<Dialect, 'tokenHeader' | 'ttlHeader'>,
): ReadHeaders {
  const read: ReadHeaders = {
    hasHost: false,
    hasUpgrade: false,
    hasBody: false,
    token: undefined,
    ttl: undefined,
    isForwarded: false,
    isOfPage: false,
    repeated: undefined,
    isNoCache: false,
  }
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = (rawHeaders[at] ?? '').toLowerCase()
    const value = rawHeaders[at + 1] ?? ''
    if (name === tokenHeader) {
      if (read.token !== undefined) read.repeated = name
      read.token = value
    } else if (name === ttlHeader) {
      if (read.ttl !== undefined) read.repeated = name
      read.ttl = value
    } else if (name === 'host' && read.hasHost) read.repeated = name
    else if (isForwarding(name)) read.isForwarded = true
    else if (isBrowser(name)) read.isOfPage = true
    else if (name === 'cache-control') read.isNoCache ||= NO_CACHE.test(value)
    else noteFraming(read, name, value)
  }
  return read
}

/** @throws MetabindError REQUEST_FORWARDED before all else, then REQUEST_BROWSER, REQUEST_HEADERS */
export function judgeHeaders({ isForwarded, isOfPage, repeated }: ReadHeaders): void {
  if (isForwarded) throw new MetabindError('REQUEST_FORWARDED')
  if (isOfPage) throw new MetabindError('REQUEST_BROWSER')
  if (repeated !== undefined) throw new MetabindError('REQUEST_HEADERS', repeated)
}

/** Whether a request carries what only a browser sends. @param rawHeaders name, value, name, value… */
export function isOfBrowser(rawHeaders: readonly string[]): boolean {
  return rawHeaders.some((name, at) => at % 2 === 0 && isBrowser(name.toLowerCase()))
}

function isForwarding(name: string): boolean {
  return name.startsWith('x-forwarded') || FORWARDING.has(name)
}

function isBrowser(name: string): boolean {
  return BROWSER.has(name) || (name.startsWith('sec-fetch-') && name !== OF_EVERY_FETCH)
}

const WHOLE_NUMBER = /^[1-9][0-9]{0,4}$/

/**
 * Reads the lifetime of a token request: digits only, no sign, no leading zero.
 *
 * @param text the header's value, undefined if it was not sent
 * @param ttlSecondsMax the longest lifetime given out
 * @throws MetabindError TOKEN_TTL
 */
export function parseTtlSeconds(text: string | undefined, ttlSecondsMax: number): number {
  const seconds = text !== undefined && WHOLE_NUMBER.test(text) ? Number(text) : 0
  if (seconds < TTL_SECONDS_MIN || seconds > ttlSecondsMax) throw new MetabindError('TOKEN_TTL')
  return seconds
}

/**
 * Whether a request asks for an answer from the source itself. Only root's word counts: from others it would be a
 * way around the cache, and a way to keep the source busy.
 */
export function asksForFresh({ isNoCache }: Pick<ReadHeaders, 'isNoCache'>, uid: number): boolean {
  return isNoCache && uid === 0
}

// Unreserved characters and base64url, and the comma, colon and braces' escapes that callers use for
// structured audiences are left out on purpose: how the source escapes them inside the signed JSON
// is not documented, and a value that must be escaped could close the string it stands in.
const AUDIENCE = /^audience=[A-Za-z0-9._~-]{1,256}$/

/** Lets through the one query that means something: an audience on a path that takes one. */
export function judgeQuery(path: string, query: string | undefined, dialect: Dialect): void {
  if (query === undefined) return
  if (!dialect.audiencePaths.includes(path) || !AUDIENCE.test(query)) {
    throw new MetabindError('REQUEST_QUERY')
  }
}
