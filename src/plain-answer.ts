import type { Socket } from 'node:net'

/** An answer of HTTP/1.1 whose length its head says, as every answer of the agent is. */
export interface PlainAnswer {
  readonly status: number
  /** By their names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

interface Head extends Omit<PlainAnswer, 'body'> {
  readonly bytes: number
  readonly bodyBytes: number
}

const HEAD_BYTES_MAX = 16_384
const HEAD_END = '\r\n\r\n'
const STATUS_LINE = /^HTTP\/1\.1 ([2-5]\d\d)(?: [^\r\n]*)?$/
const HEADER = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*?)[ \t]*$/
const LENGTH = /^\d{1,10}$/

/**
 * Reads one answer, and no more. Not by node:http: loading it takes a process that lives for two requests
 * as long as all the rest, and the other end is the agent, or claims to be, so that whatever this does not
 * understand is refused.
 *
 * @param bytesMax of the body
 */
export function readAnswer(socket: Socket, bytesMax: number): Promise<PlainAnswer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    let head: Head | undefined
    const take = (chunk: Buffer) => {
      chunks.push(chunk)
      bytes += chunk.length
      head ??= headIn(Buffer.concat(chunks), bytesMax)
      if (head === undefined || bytes < head.bytes + head.bodyBytes) return
      const { status, headers, bytes: start, bodyBytes } = head
      resolve({ status, headers, body: Buffer.concat(chunks).subarray(start, start + bodyBytes) })
    }
    socket.on('data', (chunk: Buffer) => {
      try {
        take(chunk)
      } catch (error) {
        reject(error)
      }
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('the answer ends early')))
  })
}

/** Undefined until all of it is there. @throws Error if it is none */
function headIn(received: Buffer, bytesMax: number): Head | undefined {
  const end = received.indexOf(HEAD_END)
  if (end > HEAD_BYTES_MAX || (end < 0 && received.length > HEAD_BYTES_MAX)) {
    throw new Error('its headers are too long')
  }
  if (end < 0) return undefined
  const [first = '', ...lines] = received.toString('latin1', 0, end).split('\r\n')
  const status = STATUS_LINE.exec(first)?.[1]
  if (status === undefined) throw new Error('its first line is not that of HTTP/1.1')
  const headers = headersIn(lines)
  const length = headers['content-length'] ?? ''
  if (!LENGTH.test(length) || headers['transfer-encoding'] !== undefined) {
    throw new Error('it does not say how long it is')
  }
  if (Number(length) > bytesMax) throw new Error('it is too large')
  const bytes = end + HEAD_END.length
  return { status: Number(status), headers, bytes, bodyBytes: Number(length) }
}

function headersIn(lines: readonly string[]): Record<string, string> {
  const headers = new Map<string, string>()
  for (const line of lines) {
    const [, name, value] = HEADER.exec(line) ?? []
    if (name === undefined || value === undefined) throw new Error('a header is none')
    if (headers.has(name.toLowerCase())) throw new Error(`it has two headers ${name}`)
    headers.set(name.toLowerCase(), value)
  }
  return Object.fromEntries(headers)
}
