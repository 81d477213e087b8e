import type { IncomingMessage } from 'node:http'
import { MetabindError } from '../errors.ts'
import { UI_KEY_HEADER, UI_PATHS } from '../ui-paths.ts'

/** Where the page is: `http://127.0.0.1:PORT`. */
export interface PageOrigin {
  readonly host: string
  readonly cookieName: string
}

const BODY_BYTES_MAX = 1024

/** @param port that it listens on */
export function pageOrigin(port: number): PageOrigin {
  // Cookies know no port: two of these must not take each other's.
  return { host: `127.0.0.1:${port}`, cookieName: `metabind-ui-${port}` }
}

/**
 * Refuses what does not come from the page: another name of this machine (DNS rebinding), another site, another
 * origin on this machine.
 *
 * @throws MetabindError UI_ORIGIN
 */
export function requireOwnOrigin(
  { headers, method, url }: IncomingMessage,
  { host }: PageOrigin,
): void {
  if (headers.host !== host) throw new MetabindError('UI_ORIGIN', 'its Host is another')
  const { origin } = headers
  if (origin !== undefined ? origin !== `http://${host}` : method !== 'GET') {
    throw new MetabindError('UI_ORIGIN', 'its Origin is another')
  }
  // `none`: the person typed or chose the address, outside of any page.
  const site = headers['sec-fetch-site'] ?? 'same-origin'
  const isTyped = site === 'none' && url === UI_PATHS.page
  if (site !== 'same-origin' && !isTyped) {
    throw new MetabindError('UI_ORIGIN', 'another site has made it')
  }
}

/** What a request proves itself with. */
export function keysIn({ headers }: IncomingMessage, { cookieName }: PageOrigin) {
  const pairs = (headers.cookie ?? '').split(';').map((pair) => pair.trim())
  const cookie = pairs.find((pair) => pair.startsWith(`${cookieName}=`))
  const key = headers[UI_KEY_HEADER]
  return {
    cookie: cookie?.slice(cookieName.length + 1),
    key: typeof key === 'string' ? key : undefined,
  }
}

/** A small body of JSON. @throws MetabindError ADMIN_REQUEST */
export async function jsonIn(request: IncomingMessage): Promise<unknown> {
  // A form cannot send this type, so no other site can without asking.
  if (request.headers['content-type'] !== 'application/json')
    throw new MetabindError('ADMIN_REQUEST')
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += chunk.length
    if (bytes > BODY_BYTES_MAX) throw new MetabindError('ADMIN_REQUEST')
    chunks.push(chunk)
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'))
  } catch {
    throw new MetabindError('ADMIN_REQUEST')
  }
}
