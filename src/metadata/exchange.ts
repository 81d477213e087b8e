import { errors, Pool } from 'undici'
import { MetabindError, nodeErrorCode } from '../errors.ts'

/** Bounds of what is asked of the source. */
export interface ExchangeBounds {
  readonly connectTimeoutMs: number
  readonly answerBytesMax: number
}

/** One answer, whatever its status. */
export interface SourceAnswer {
  readonly status: number
  readonly body: Buffer
  readonly contentType: string
  /** Where it sends the client to, if anywhere; not looked at. */
  readonly location: string | undefined
}

/** One request to the source. */
interface Asking {
  readonly method: 'GET' | 'PUT'
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  /** Ends it, and its repetition. */
  readonly signal: AbortSignal
}

/** Connections to the source. */
export interface Exchange {
  /**
   * Asks once, and once more on a new connection if the old one was lost: a source that closes a
   * kept connection just then has done nothing wrong. GET and PUT may both be repeated (RFC 9110, 9.2.2).
   *
   * @throws MetabindError SOURCE_DOWN, SOURCE_NONSENSE
   */
  ask(asking: Asking): Promise<SourceAnswer>
  close(): Promise<void>
}

/** Connections to the source at once; what is asked beyond waits for one. */
export const CONNECTIONS_MAX = 16
const CONTENT_TYPE = /^[\x20-\x7e]{1,200}$/
const LOST = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])

/** @param endpoint `http://ADDRESS[:PORT]` */
export function openExchange(endpoint: string, bounds: ExchangeBounds): Exchange {
  const options = {
    connections: CONNECTIONS_MAX,
    connect: { timeout: bounds.connectTimeoutMs },
    maxResponseSize: bounds.answerBytesMax,
  }
  const pooled = new Pool(endpoint, options)
  // Without keep-alive: each request there has a connection that nobody had before.
  const fresh = new Pool(endpoint, { ...options, pipelining: 0 })
  return {
    ask: async (asking) => {
      try {
        return await askOn(pooled, asking)
      } catch (error) {
        if (!isLost(error)) throw error
        return askOn(fresh, asking)
      }
    },
    close: async () => void (await Promise.all([pooled.destroy(), fresh.destroy()])),
  }
}

async function askOn(
  pool: Pool,
  { method, target, headers, signal }: Asking,
): Promise<SourceAnswer> {
  // Bytes are passed on as they come, so they must come plain; no caller asked for another coding.
  const asked = { ...headers, 'accept-encoding': 'identity' }
  let response: Awaited<ReturnType<Pool['request']>>
  try {
    response = await pool.request({ method, path: target, headers: asked, signal })
  } catch (error) {
    throw new MetabindError(isNonsense(error) ? 'SOURCE_NONSENSE' : 'SOURCE_DOWN', method, error)
  }
  const body = await bodyOf(response.body, signal)
  if (response.statusCode === 200) requirePlain(response.headers)
  const { location, 'content-type': type } = response.headers
  return {
    status: response.statusCode,
    body,
    contentType: typeof type === 'string' && CONTENT_TYPE.test(type) ? type : 'text/plain',
    location: typeof location === 'string' ? location : undefined,
  }
}

async function bodyOf(
  body: { arrayBuffer(): Promise<ArrayBuffer> },
  signal: AbortSignal,
): Promise<Buffer> {
  try {
    return Buffer.from(await body.arrayBuffer())
  } catch (error) {
    // Headers came and the body did not: stalled, cut or endless. No part of it is passed on.
    if (signal.aborted) throw new MetabindError('SOURCE_DOWN', 'its answer stalled', error)
    throw new MetabindError('SOURCE_NONSENSE', 'its answer broke off', error)
  }
}

/** Its header would be lost on the way to the caller, who would take the coded bytes for the value. */
function requirePlain(headers: Readonly<Record<string, string | string[] | undefined>>): void {
  const { 'content-encoding': content = 'identity', 'transfer-encoding': transfer = 'chunked' } =
    headers
  const isPlain = String(content).toLowerCase() === 'identity'
  if (isPlain && String(transfer).toLowerCase() === 'chunked') return
  throw new MetabindError('SOURCE_NONSENSE', 'its answer is coded, and was asked for plain')
}

/** Whether the connection ended under the request, which says nothing of the request. */
function isLost(error: unknown): boolean {
  const cause = error instanceof MetabindError ? error.cause : undefined
  return LOST.has(nodeErrorCode(cause) ?? '')
}

/** Whether the source spoke, but not HTTP that can be used. */
function isNonsense(error: unknown): boolean {
  return (
    error instanceof errors.HTTPParserError ||
    error instanceof errors.HeadersOverflowError ||
    error instanceof errors.ResponseExceededMaxSizeError
  )
}
