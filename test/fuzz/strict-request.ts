/**
 * Requests of HTTP/1.1 read by the letter of RFC 9112, to compare Node's parser with: another program, which
 * shares nothing with it, and forgives only what that says may be forgiven.
 */
export interface StrictRequest {
  readonly method: string
  readonly target: string
  readonly version: string
  /** Name, value, name, value…; names as they came. */
  readonly headers: readonly string[]
  readonly body: string
}

// Words may be parted by more than one space (RFC 9112, 3).
const REQUEST_LINE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) +([!-~]+) +HTTP\/(\d\.\d)$/
// Field values may hold bytes above ASCII, which mean nothing (RFC 9110, 5.5).
const FIELD =
  /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[!-~\x80-\xff](?:[ \t!-~\x80-\xff]*[!-~\x80-\xff])?)?)[ \t]*$/
const CHUNK_LINE = /^([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t -~\x80-\xff]*)?$/

/** Reads one request after another, until one is not whole or not well-formed. */
export function strictRequests(bytes: Buffer): StrictRequest[] {
  const reader = new LineReader(bytes.toString('latin1'))
  const requests: StrictRequest[] = []
  for (;;) {
    const request = readRequest(reader)
    if (request === undefined) return requests
    requests.push(request)
  }
}

class LineReader {
  readonly #text: string
  #at = 0

  constructor(text: string) {
    this.#text = text
  }

  /** Up to CR LF, and undefined if there is none. */
  line(): string | undefined {
    const end = this.#text.indexOf('\r\n', this.#at)
    if (end < 0) return undefined
    const line = this.#text.slice(this.#at, end)
    this.#at = end + 2
    return line
  }

  /** @param pattern sticky */
  skip(pattern: RegExp): void {
    pattern.lastIndex = this.#at
    pattern.test(this.#text)
    this.#at = Math.max(this.#at, pattern.lastIndex)
  }

  take(length: number): string | undefined {
    if (this.#at + length > this.#text.length) return undefined
    const part = this.#text.slice(this.#at, this.#at + length)
    this.#at += length
    return part
  }
}

function readRequest(reader: LineReader): StrictRequest | undefined {
  // RFC 9112, 2.2: empty lines before a request line should be ignored. llhttp skips either of their bytes.
  reader.skip(/[\r\n]*/y)
  const first = reader.line()
  const [, method, target, version] = REQUEST_LINE.exec(first ?? '') ?? []
  const headers = readFields(reader)
  if (method === undefined || target === undefined || headers === undefined) return undefined
  const body = readBody(reader, headers)
  if (body === undefined || version === undefined) return undefined
  return { method, target, version, headers, body }
}

function readFields(reader: LineReader): string[] | undefined {
  const fields: string[] = []
  for (let line = reader.line(); line !== ''; line = reader.line()) {
    const [, name, value] = FIELD.exec(line ?? '') ?? []
    if (name === undefined || value === undefined) return undefined
    fields.push(name, value)
  }
  return fields
}

function readBody(reader: LineReader, headers: readonly string[]): string | undefined {
  const valuesOf = (wanted: string) =>
    headers.filter((_, at) => at % 2 === 1 && headers[at - 1]?.toLowerCase() === wanted)
  const [lengths, codings] = [valuesOf('content-length'), valuesOf('transfer-encoding')]
  if (codings.length > 0) {
    // RFC 9112, 6.1 and 6.3: chunked once and last, and no length beside it.
    const coded = codings
      .join(',')
      .split(',')
      .map((coding) => coding.trim().toLowerCase())
    const isChunked = coded.indexOf('chunked') === coded.length - 1
    return isChunked && lengths.length === 0 ? readChunks(reader) : undefined
  }
  const [length = '0'] = lengths
  if (lengths.length > 1 || !/^\d{1,15}$/.test(length)) return undefined
  return reader.take(Number(length))
}

function readChunks(reader: LineReader): string | undefined {
  let body = ''
  for (;;) {
    const [, size] = CHUNK_LINE.exec(reader.line() ?? '') ?? []
    if (size === undefined) return undefined
    if (/^0+$/.test(size)) break
    const chunk = reader.take(Number.parseInt(size, 16))
    if (chunk === undefined || reader.take(2) !== '\r\n') return undefined
    body += chunk
  }
  return readFields(reader) === undefined ? undefined : body
}
