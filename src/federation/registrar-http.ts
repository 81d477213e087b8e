import { Agent, request } from 'node:https'
import type { TLSSocket } from 'node:tls'
import { type ErrorCode, MetabindError } from '../errors.ts'
import { tlsExporter } from '../format/enrolment-bind.ts'
import { parseJson } from '../json.ts'
import { isKnownCode, RegistrarDown, RegistrarRefusal } from './registrar-errors.ts'

/** Where the registrar is, and by what it is known. */
export interface RegistrarPlace {
  /** `https://HOST[:PORT][/PATH]`. */
  readonly url: string
  /** Where to connect, in place of looking the name up. */
  readonly address: { readonly host: string; readonly port: number | undefined } | undefined
  /** PEM of the authorities that its certificate may be of; undefined: those that come with the runtime. */
  readonly authorities: Buffer | undefined
  /** For a whole answer. */
  readonly timeoutMs: number
}

/** A request, at a path below the registrar's URL. */
interface AskedOfRegistrar {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly contentType?: string
  readonly body?: string
}

export interface RegistrarReply {
  /** JSON. */
  readonly body: unknown
  /** What the registrar's clock said, in milliseconds since 1970; undefined if it did not say. */
  readonly sentAtMs: number | undefined
}

/** Requests to the registrar, one after the other on one connection as long as it lasts. */
export interface RegistrarHttp extends Disposable {
  /**
   * @param isBound whether it has to go over the connection that `exporter` speaks of
   * @throws MetabindError FEDERATION_DOWN, FEDERATION_REFUSED
   */
  ask(asked: AskedOfRegistrar, isBound?: boolean): Promise<RegistrarReply>
  /** The channel binding of the connection that the last answer came on; undefined before TLS 1.3. */
  exporter(): Buffer | undefined
}

// The longest is a token, and what is known of an instance.
const ANSWER_BYTES_MAX = 65_536
const RETRY_AFTER_SECONDS_MAX = 3600

/** @param ending aborts what is under way */
export function openRegistrarHttp(place: RegistrarPlace, ending: AbortSignal): RegistrarHttp {
  const { hostname, port, pathname } = new URL(place.url)
  const { authorities: ca, address, timeoutMs } = place
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ...(ca === undefined ? {} : { ca }) })
  let connection: TLSSocket | undefined
  const send = async (asked: AskedOfRegistrar, isBound: boolean): Promise<RegistrarReply> => {
    const { promise, resolve, reject } = Promise.withResolvers<RegistrarReply>()
    const { method, path, contentType, body } = asked
    const sent = request({
      ...{ agent, method, servername: hostname },
      host: address?.host ?? hostname,
      port: address?.port ?? (port === '' ? 443 : Number(port)),
      path: `${pathname.replace(/\/$/, '')}${path}`,
      headers: {
        host: hostOf(hostname, port),
        accept: 'application/json',
        ...(contentType === undefined ? {} : { 'content-type': contentType }),
      },
      signal: AbortSignal.any([ending, AbortSignal.timeout(timeoutMs)]),
    })
    sent.once('socket', (socket) => {
      if (isBound && socket !== connection) sent.destroy(new Error('its connection has ended'))
      connection = socket as TLSSocket
    })
    sent.once('error', reject)
    let isAnswered = false
    // Without an error, as after 101: whoever waited for nothing else would wait for ever.
    sent.once('close', () => {
      if (!isAnswered) reject(new Error('it ended without an answer'))
    })
    sent.once('response', async (answer) => {
      isAnswered = true
      try {
        const chunks: Buffer[] = []
        let bytes = 0
        for await (const chunk of answer) {
          bytes += chunk.length
          if (bytes > ANSWER_BYTES_MAX) throw new Error('the answer is too long')
          chunks.push(chunk)
        }
        const { date = '', 'retry-after': after = '' } = answer.headers
        const read = { status: answer.statusCode ?? 0, body: parseJson(Buffer.concat(chunks)) }
        resolve(requireGood({ ...read, date, after }))
      } catch (error) {
        reject(error)
      } finally {
        answer.destroy()
      }
    })
    sent.end(body)
    return promise
  }
  return {
    ask: async (asked, isBound = false) => {
      try {
        return await send(asked, isBound)
      } catch (error) {
        if (error instanceof MetabindError) throw error
        throw new RegistrarDown(undefined, undefined, error)
      }
    },
    exporter: () => (connection === undefined ? undefined : tlsExporter(connection)),
    [Symbol.dispose]: () => agent.destroy(),
  }
}

function hostOf(hostname: string, port: string): string {
  return port === '' ? hostname : `${hostname}:${port}`
}

interface ReadAnswer {
  readonly status: number
  readonly body: unknown
  readonly date: string
  readonly after: string
}

/** What is a time to wait is not a refusal. @throws RegistrarDown, RegistrarRefusal */
function requireGood({ status, body, date, after }: ReadAnswer): RegistrarReply {
  const sentAtMs = Date.parse(date)
  if (status === 200 || status === 202) {
    return { body, sentAtMs: Number.isNaN(sentAtMs) ? undefined : sentAtMs }
  }
  const isRefusal = status >= 400 && status < 500 && status !== 408 && status !== 429
  const reason = reasonIn(body)
  if (isRefusal && reason !== undefined) throw new RegistrarRefusal(reason)
  const seconds = /^[0-9]{1,6}$/.test(after) ? Number(after) : undefined
  const afterMs = seconds && Math.min(seconds, RETRY_AFTER_SECONDS_MAX) * 1000
  const detail = `Status ${status}${reason === undefined ? '' : `, ${reason}`}.`
  throw new RegistrarDown(detail, afterMs, undefined, isRefusal)
}

/** Its code; of an answer in the words of OAuth the one that its description begins with. */
function reasonIn(body: unknown): ErrorCode | undefined {
  if (typeof body !== 'object' || body === null) return undefined
  const { error, error_description: described }: Record<string, unknown> = { ...body }
  const words = [error, typeof described === 'string' ? described.split(':', 1)[0] : undefined]
  return words.find(isKnownCode)
}
