import type { Dialect } from '../dialect/dialect.ts'
import { parseEndpoint } from '../dialect/endpoint.ts'
import { MetabindError } from '../errors.ts'
import { Secret } from '../secret.ts'
import { type Exchange, type ExchangeBounds, openExchange, type SourceAnswer } from './exchange.ts'
import { directoriesOf, leadsToSlash } from './slash-redirect.ts'
import { keyOf, type Target } from './target.ts'

/** One answer of a metadata service. */
export interface Item {
  readonly body: Buffer
  readonly contentType: string
}

/** SOURCE_DOWN by an answer: the source speaks, and does not give what was asked for. */
export class SourceStatusError extends MetabindError {
  readonly status: number

  constructor(status: number) {
    super('SOURCE_DOWN', `status ${status}`)
    this.status = status
  }
}

/** A cloud's metadata service, upstream. */
export interface Source {
  /**
   * Reads one path in security-enhanced mode.
   *
   * @param target its query one that judgeQuery let through
   * @throws MetabindError METADATA_ABSENT, SOURCE_DOWN, SOURCE_NONSENSE
   */
  read(target: Target): Promise<Item>
  close(): Promise<void>
}

/** Bounds of one exchange with the source. */
export interface SourceBounds extends ExchangeBounds {
  /** For everything that one read needs, a new token and a repetition included. */
  readonly timeoutMs: number
}

interface UpstreamToken {
  readonly text: Secret<string>
  readonly renewAtMs: number
}

const TOKEN_BYTES_MAX = 4096
const TOKEN_TEXT = /^[\x21-\x7e]{1,4096}$/
// The upstream token is renewed when a tenth of its life is left.
const RENEW_AFTER = 0.9

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
  const upstream = openExchange(endpoint, bounds)
  const directories = directoriesOf(dialect)
  const origins = [endpoint, dialect.endpoint].map((url) => parseEndpoint(url).origin)
  let token: UpstreamToken | undefined
  let renewal: Promise<UpstreamToken> | undefined

  const renewed = (): Promise<UpstreamToken> => {
    renewal ??= makeToken(upstream, dialect, bounds, bootTimeMs).finally(() => {
      renewal = undefined
    })
    return renewal
  }
  const currentToken = async (): Promise<UpstreamToken> => {
    if (token === undefined || bootTimeMs() >= token.renewAtMs) token = await renewed()
    return token
  }
  const get = (target: string, used: UpstreamToken, signal: AbortSignal): Promise<SourceAnswer> => {
    const headers = { [dialect.tokenHeader]: used.text.reveal() }
    return upstream.ask({ method: 'GET', target, headers, signal })
  }
  const ask = async (target: string, signal: AbortSignal): Promise<SourceAnswer> => {
    const used = await within(signal, currentToken())
    const answer = await get(target, used, signal)
    if (answer.status !== 401) return answer
    // The source ended the session early. Once; and once for all that were told so together.
    if (token === used) token = undefined
    return get(target, await within(signal, currentToken()), signal)
  }

  return {
    read: async (target) => {
      const { path, query } = target
      const signal = AbortSignal.timeout(bounds.timeoutMs)
      if (query !== undefined) return itemOf(await ask(keyOf(target), signal))
      if (directories.has(path)) return itemOf(await ask(`${path}/`, signal))
      const answer = await ask(path, signal)
      if (!leadsToSlash(answer, path, origins)) return itemOf(answer)
      directories.add(path)
      return itemOf(await ask(`${path}/`, signal))
    },
    close: () => upstream.close(),
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
  upstream: Exchange,
  dialect: Dialect,
  bounds: SourceBounds,
  bootTimeMs: () => number,
): Promise<UpstreamToken> {
  const askedAtMs = bootTimeMs()
  const headers = { [dialect.ttlHeader]: String(dialect.ttlSecondsMax) }
  const renewAfterMs = dialect.ttlSecondsMax * 1000 * RENEW_AFTER
  const signal = AbortSignal.timeout(bounds.timeoutMs)
  const answer = await upstream.ask({ method: 'PUT', target: dialect.tokenPath, headers, signal })
  if (answer.status !== 200) throw new MetabindError('SOURCE_DOWN', `token: ${answer.status}`)
  const text = answer.body.length <= TOKEN_BYTES_MAX ? answer.body.toString('latin1').trim() : ''
  if (!TOKEN_TEXT.test(text)) throw new MetabindError('SOURCE_NONSENSE', 'its token is no text')
  return { text: new Secret(text), renewAtMs: askedAtMs + renewAfterMs }
}

function itemOf(answer: SourceAnswer): Item {
  if (answer.status === 200) return { body: answer.body, contentType: answer.contentType }
  if (answer.status === 404) throw new MetabindError('METADATA_ABSENT')
  if (answer.status >= 200 && answer.status < 400) {
    throw new MetabindError('SOURCE_NONSENSE', `status ${answer.status}`)
  }
  throw new SourceStatusError(answer.status)
}
