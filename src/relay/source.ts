import { errors, Pool } from 'undici'
import { MetabindError } from '../errors.ts'
import { Secret } from '../format/secret.ts'
import { TTL_SECONDS_MAX } from '../format/token-claims.ts'
import type { Dialect } from './dialect.ts'

/** One answer of a metadata service. */
export interface Item {
  readonly body: Buffer
  readonly contentType: string
}

/** A cloud's metadata service, upstream. */
export interface Source {
  /**
   * Reads one path in security-enhanced mode.
   *
   * @param path canonical
   * @param query nothing, or one that judgeQuery let through
   * @throws MetabindError METADATA_ABSENT, SOURCE_DOWN, SOURCE_NONSENSE
   */
  read(path: string, query?: string): Promise<Item>
  close(): Promise<void>
}

/** Bounds of one exchange with the source. */
export interface SourceBounds {
  readonly connectTimeoutMs: number
  /** For everything that one read needs, a new token included. */
  readonly timeoutMs: number
  readonly answerBytesMax: number
}

interface Answer extends Item {
  readonly status: number
}

interface UpstreamToken {
  readonly text: Secret<string>
  readonly renewAtMs: number
}

/** Connections to the source at once; what is asked beyond waits for one. */
export const CONNECTIONS_MAX = 16
const TOKEN_BYTES_MAX = 4096
const TOKEN_TEXT = /^[\x21-\x7e]{1,4096}$/
const CONTENT_TYPE = /^[\x20-\x7e]{1,200}$/
// The upstream token is renewed when a tenth of its six hours is left.
const RENEW_AFTER_MS = TTL_SECONDS_MAX * 900

/**
 * Opens the way to a metadata service. Every request upstream is made here from nothing: no header,
 * token or byte of a caller's request is passed on, and no forwarding header is added.
 */
export function openSource(
  dialect: Dialect,
  endpoint: string,
  bounds: SourceBounds,
  bootTimeMs: () => number,
): Source {
  const pool = new Pool(endpoint, {
    connections: CONNECTIONS_MAX,
    connect: { timeout: bounds.connectTimeoutMs },
    maxResponseSize: bounds.answerBytesMax,
  })
  let token: UpstreamToken | undefined
  let renewal: Promise<UpstreamToken> | undefined

  const renewed = (): Promise<UpstreamToken> => {
    renewal ??= makeToken(pool, dialect, bounds, bootTimeMs).finally(() => {
      renewal = undefined
    })
    return renewal
  }
  const currentToken = async (): Promise<UpstreamToken> => {
    if (token === undefined || bootTimeMs() >= token.renewAtMs) token = await renewed()
    return token
  }
  const get = (target: string, used: UpstreamToken, signal: AbortSignal): Promise<Answer> =>
    exchange(pool, 'GET', target, { [dialect.tokenHeader]: used.text.reveal() }, signal)

  return {
    read: async (path, query) => {
      const signal = AbortSignal.timeout(bounds.timeoutMs)
      const target = query === undefined ? path : `${path}?${query}`
      const used = await within(signal, currentToken())
      let answer = await get(target, used, signal)
      if (answer.status === 401) {
        // The source ended the session early. Once; and once for all that were told so together.
        if (token === used) token = undefined
        answer = await get(target, await within(signal, currentToken()), signal)
      }
      return itemOf(answer)
    },
    close: () => pool.destroy(),
  }
}

/** Waits no longer than this read may take; the renewal goes on for whoever else waits for it. */
function within<T>(signal: AbortSignal, waited: Promise<T>): Promise<T> {
  const over = new Promise<never>((_resolve, reject) => {
    const end = () => reject(new MetabindError('SOURCE_DOWN', 'token', signal.reason))
    if (signal.aborted) end()
    else signal.addEventListener('abort', end, { once: true })
  })
  return Promise.race([waited, over])
}

async function makeToken(
  pool: Pool,
  dialect: Dialect,
  bounds: SourceBounds,
  bootTimeMs: () => number,
): Promise<UpstreamToken> {
  const askedAtMs = bootTimeMs()
  const headers = { [dialect.ttlHeader]: String(TTL_SECONDS_MAX) }
  const signal = AbortSignal.timeout(bounds.timeoutMs)
  const answer = await exchange(pool, 'PUT', dialect.tokenPath, headers, signal)
  if (answer.status !== 200) throw new MetabindError('SOURCE_DOWN', `token: ${answer.status}`)
  const text = answer.body.length <= TOKEN_BYTES_MAX ? answer.body.toString('latin1').trim() : ''
  if (!TOKEN_TEXT.test(text)) throw new MetabindError('SOURCE_NONSENSE', 'its token is no text')
  return { text: new Secret(text), renewAtMs: askedAtMs + RENEW_AFTER_MS }
}

async function exchange(
  pool: Pool,
  method: 'GET' | 'PUT',
  path: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<Answer> {
  let response: Awaited<ReturnType<Pool['request']>>
  try {
    response = await pool.request({ method, path, headers, signal })
  } catch (error) {
    throw new MetabindError(isNonsense(error) ? 'SOURCE_NONSENSE' : 'SOURCE_DOWN', method, error)
  }
  try {
    const body = Buffer.from(await response.body.arrayBuffer())
    const sent = response.headers['content-type']
    const contentType = typeof sent === 'string' && CONTENT_TYPE.test(sent) ? sent : 'text/plain'
    return { status: response.statusCode, body, contentType }
  } catch (error) {
    // Headers came and the body did not: stalled, cut or endless. No part of it is passed on.
    if (signal.aborted) throw new MetabindError('SOURCE_DOWN', 'its answer stalled', error)
    throw new MetabindError('SOURCE_NONSENSE', 'its answer broke off', error)
  }
}

/** Whether the source spoke, but not HTTP that can be used. */
function isNonsense(error: unknown): boolean {
  return (
    error instanceof errors.HTTPParserError ||
    error instanceof errors.HeadersOverflowError ||
    error instanceof errors.ResponseExceededMaxSizeError
  )
}

function itemOf(answer: Answer): Item {
  if (answer.status === 200) return { body: answer.body, contentType: answer.contentType }
  if (answer.status === 404) throw new MetabindError('METADATA_ABSENT')
  if (answer.status >= 200 && answer.status < 400) {
    throw new MetabindError('SOURCE_NONSENSE', `status ${answer.status}`)
  }
  throw new MetabindError('SOURCE_DOWN', `status ${answer.status}`)
}
