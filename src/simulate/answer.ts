/**
 * What the metadata server answers to a request: a pure function of the request, the tree and the
 * open sessions. Rules and status codes are those of the ECS user guide, "View instance metadata"; docs/simulate.md says where it is silent.
 */
import type { Cloud } from './cloud.ts'
import { MAX_TTL_SECONDS, type Sessions } from './session-token.ts'
import { type Directory, isDirectory, type Leaf, list, lookUp, read } from './tree.ts'

export interface MetadataRequest {
  readonly method: string
  readonly target: string
  /** Names and values in turn, as received: repeated headers must stay visible. */
  readonly rawHeaders: readonly string[]
}

export interface MetadataAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

export interface MetadataService {
  readonly cloud: Cloud
  readonly tokens: 'required' | 'optional'
  readonly sessions: Sessions
  readonly listed: Directory
  readonly unlisted: ReadonlyMap<string, Leaf>
}

const TEXT = { 'Content-Type': 'text/plain' }

/** The reason phrases of the vendor's documentation are the bodies; 404 and 405 are HTTP's own. */
const REFUSALS = {
  400: 'Missing or Invalid Parameters',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
} as const

export function answerRequest(request: MetadataRequest, service: MetadataService): MetadataAnswer {
  if (!request.target.startsWith('/')) return refuse(400)
  const { path, query } = splitTarget(request.target)
  if (path === service.cloud.tokenPath) return answerTokenRequest(request, service)
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return refuse(405, { Allow: 'GET, HEAD' })
  }
  // Before the path is looked at, so that nobody without a token learns which paths exist.
  const refusal = checkToken(request, service)
  return refusal ?? readPath(path, query, service)
}

/** The path with `//` collapsed, and the query; a bare `?` is no query. */
export function splitTarget(target: string): { path: string; query: URLSearchParams } {
  const end = target.indexOf('?')
  const path = end < 0 ? target : target.slice(0, end)
  const query = new URLSearchParams(end < 0 ? '' : target.slice(end + 1))
  return { path: path.replaceAll(/\/{2,}/g, '/'), query }
}

function answerTokenRequest(request: MetadataRequest, service: MetadataService): MetadataAnswer {
  const { ttlHeader } = service.cloud
  if (request.method !== 'PUT') return refuse(405, { Allow: 'PUT' })
  // Presence counts, not value, and before the TTL: the vendor's 403 example carries no TTL.
  if (headerValues(request, 'X-Forwarded-For').length > 0) return refuse(403)
  const ttlSeconds = parseTtl(headerValues(request, ttlHeader))
  if (ttlSeconds === undefined) return refuse(400)
  const headers = { ...TEXT, [ttlHeader]: String(ttlSeconds), 'Cache-Control': 'no-store' }
  return { status: 200, headers, body: Buffer.from(service.sessions.open(ttlSeconds)) }
}

function parseTtl(values: readonly string[]): number | undefined {
  const [text, second] = values
  if (text === undefined || second !== undefined || !/^[1-9][0-9]{0,4}$/.test(text)) return
  const ttlSeconds = Number(text)
  return ttlSeconds <= MAX_TTL_SECONDS ? ttlSeconds : undefined
}

/** The refusal, or undefined for a request that may read. */
function checkToken(
  request: MetadataRequest,
  service: MetadataService,
): MetadataAnswer | undefined {
  const { tokenHeader, statusWithoutToken, refusesForwardedReads } = service.cloud
  if (refusesForwardedReads && headerValues(request, 'X-Forwarded-For').length > 0) {
    return refuse(403)
  }
  const [token, second] = headerValues(request, tokenHeader)
  if (token === undefined) {
    return service.tokens === 'required' ? refuse(statusWithoutToken) : undefined
  }
  const accepted = second === undefined && service.sessions.isOpen(token)
  return accepted ? undefined : refuse(401)
}

function readPath(path: string, query: URLSearchParams, service: MetadataService): MetadataAnswer {
  // The versions are listed without a slash, unlike any other directory.
  const { versions, slashAfterLeaf, redirectsToSlashAt } = service.cloud
  if (path === '/') return value(Buffer.from(versions.join('\n')))
  const [, version = '', ...names] = path.split('/')
  if (!versions.includes(version)) return refuse(404)
  const asked = names.join('/')
  const inVersion = slashAfterLeaf ? asked.replace(/\/$/, '') : asked
  const node = service.unlisted.get(inVersion) ?? lookUp(service.listed, inVersion)
  if (node === undefined) return refuse(404)
  if (isDirectory(node) && redirectsToSlashAt !== undefined && !path.endsWith('/')) {
    return redirect(`${redirectsToSlashAt}${path}/`)
  }
  return value(isDirectory(node) ? Buffer.from(list(node)) : read(node, query))
}

function headerValues(request: MetadataRequest, name: string): string[] {
  const wanted = name.toLowerCase()
  return request.rawHeaders.filter(
    (_, i, headers) => i % 2 === 1 && headers[i - 1]?.toLowerCase() === wanted,
  )
}

function value(body: Buffer): MetadataAnswer {
  return { status: 200, headers: TEXT, body }
}

function redirect(to: string): MetadataAnswer {
  return { status: 301, headers: { ...TEXT, Location: to }, body: Buffer.alloc(0) }
}

function refuse(
  status: keyof typeof REFUSALS,
  headers: Record<string, string> = {},
): MetadataAnswer {
  return { status, headers: { ...TEXT, ...headers }, body: Buffer.from(REFUSALS[status]) }
}
