import { createRequire } from 'node:module'
import { HEADERS_READ_MAX } from '../../src/http/request-order.ts'

/** A request head as Node's own parser read it. */
export interface ParsedHead {
  readonly httpVersion: string
  readonly method: string
  readonly url: string
  readonly rawHeaders: readonly string[]
}

/** What became of the bytes of a connection. */
export interface ParsedBytes {
  readonly heads: readonly ParsedHead[]
  /** Bodies that were read to their ends, by the number of their request. */
  readonly bodies: readonly string[]
  /** Whether the parser gave up, or took what follows for another protocol. */
  readonly isBroken: boolean
}

interface RawParser {
  [callback: number]: (...args: never[]) => unknown
  initialize(type: number, resource: object, headerBytesMax: number, leniency: number): void
  execute(bytes: Buffer): number | Error
}
interface HttpCommon {
  readonly methods: readonly string[]
  readonly HTTPParser: {
    new (): RawParser
    readonly [constant: string]: number
  }
}
// What node:http itself parses with; a connection and its turns of the event loop cost twenty times as much.
const { methods, HTTPParser } = createRequire(import.meta.url)('_http_common') as HttpCommon
const constant = (name: string): number => HTTPParser[name] ?? 0
// As in node:http without listeners for upgrades: only after CONNECT comes another protocol.
const UPGRADED = 2
const parser = new HTTPParser()

/** Parses as node:http does, with the options of src/http/server.ts. */
export function parseWire(bytes: Buffer, headerBytesMax: number): ParsedBytes {
  const heads: ParsedHead[] = []
  const bodies: string[] = []
  let early: string[] = []
  let isUpgraded = false
  let body = ''
  parser.initialize(constant('REQUEST'), {}, headerBytesMax, constant('kLenientNone'))
  const on = (name: string, callback: (...args: never[]) => unknown) => {
    parser[constant(name)] = callback
  }
  on('kOnMessageBegin', () => undefined)
  on('kOnHeaders', (headers: string[]) => void early.push(...headers))
  on(
    'kOnHeadersComplete',
    (major: number, minor: number, headers: string[] | undefined, method: number, url: string) => {
      const rawHeaders = [...early, ...(headers ?? [])].slice(0, 2 * HEADERS_READ_MAX)
      early = []
      body = ''
      const name = methods[method] ?? ''
      heads.push({ httpVersion: `${major}.${minor}`, method: name, url, rawHeaders })
      isUpgraded = name === 'CONNECT'
      return isUpgraded ? UPGRADED : 0
    },
  )
  on('kOnBody', (chunk: Buffer) => {
    body += chunk.toString('latin1')
  })
  on('kOnMessageComplete', () => {
    bodies.push(body)
    // Trailers; node:http keeps them apart.
    early = []
  })
  const parsed = parser.execute(bytes)
  return { heads, bodies, isBroken: isUpgraded || typeof parsed !== 'number' }
}
