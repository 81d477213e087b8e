/** URIs of HTTP requests, as proofs name them. */

/** Longest URI in a proof. */
export const URI_CHARACTERS_MAX = 2048

const WRITTEN = /^https?:\/\/[^/?#@]+(?:[/?#].*)?$/i
const PRINTABLE = /^[\x21-\x5b\x5d-\x7e]+$/
const ESCAPE = /%[0-9A-Fa-f]{2}/g
const UNRESERVED = /[A-Za-z0-9._~-]/

/**
 * A URI without query and fragment, in the one form that two of them are compared in (RFC 9449, 4.3): normalised by
 * syntax and by scheme (RFC 3986, 6.2.2 and 6.2.3).
 *
 * @returns undefined for what is no URI of HTTP, or names a user
 */
export function comparableUri(text: string): string | undefined {
  if (text.length > URI_CHARACTERS_MAX || !PRINTABLE.test(text) || !WRITTEN.test(text)) {
    return undefined
  }
  if (!URL.canParse(text)) return undefined
  const url = new URL(text)
  if (/%(?![0-9A-Fa-f]{2})/.test(url.pathname)) return undefined
  return `${url.origin}${url.pathname.replace(ESCAPE, normalEscape)}`
}

function normalEscape(written: string): string {
  const character = String.fromCharCode(Number.parseInt(written.slice(1), 16))
  return UNRESERVED.test(character) ? character : written.toUpperCase()
}
