/** Sends an answer, or what a fault makes of the connection instead. */
import { randomBytes } from 'node:crypto'
import { type ServerResponse, STATUS_CODES } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { MetadataAnswer } from './answer.ts'
import type { Fault, FaultOf } from './faults.ts'

const OVERSIZE_BYTES = 16 * 1024 * 1024
const CHUNK_BYTES = 64 * 1024

/** True when the fault leaves the client without a status line. */
export function hidesStatus(fault: Fault): boolean {
  if (fault.kind === 'stall') return fault.at !== 'body'
  if (fault.kind === 'garbage') return fault.at !== 'body'
  return fault.kind === 'reset'
}

export async function deliver(
  response: ServerResponse,
  answer: MetadataAnswer,
  faults: readonly Fault[],
): Promise<void> {
  for (const fault of faults) {
    if (fault.kind === 'oversize') return sendOversize(response, answer, fault)
    if (fault.kind === 'truncate') return sendTruncated(response, answer, fault)
    if (fault.kind === 'stall') return stall(response, answer, fault)
    if (fault.kind === 'garbage' && fault.at !== 'body') return sendGarbage(response)
    if (fault.kind === 'reset') return end(response, fault)
  }
  send(response, answer)
}

function end(response: ServerResponse, { by }: FaultOf<'reset'>): void {
  if (by === 'rst') response.socket?.resetAndDestroy()
  else response.destroy()
}

export function send(response: ServerResponse, answer: MetadataAnswer): void {
  response.writeHead(answer.status, { ...answer.headers, 'Content-Length': answer.body.length })
  response.end(answer.body)
}

async function sendOversize(
  response: ServerResponse,
  answer: MetadataAnswer,
  fault: FaultOf<'oversize'>,
): Promise<void> {
  const bytes = fault.bytes ?? OVERSIZE_BYTES
  const length = fault.framing === 'length' ? { 'Content-Length': bytes } : {}
  response.writeHead(answer.status, { ...answer.headers, ...length })
  await pipeline(Readable.from(chunks(bytes)), response)
}

function* chunks(bytes: number): Generator<Buffer> {
  const chunk = Buffer.alloc(CHUNK_BYTES, 'x')
  for (let left = bytes; left > 0; left -= chunk.length) yield chunk.subarray(0, left)
}

function sendTruncated(
  response: ServerResponse,
  answer: MetadataAnswer,
  fault: FaultOf<'truncate'>,
): void {
  const { body } = answer
  // An answer without a body promises one byte, so that there is something to miss.
  const bytes = Math.min(fault.bodyBytes ?? body.length >> 1, Math.max(body.length - 1, 0))
  const start = [head(answer, Math.max(body.length, 1)), body.subarray(0, bytes)]
  response.socket?.write(Buffer.concat(start), () => response.destroy())
}

function stall(response: ServerResponse, answer: MetadataAnswer, fault: FaultOf<'stall'>): void {
  if (fault.at !== 'body') return
  const { body } = answer
  const start = [head(answer, Math.max(body.length, 1)), body.subarray(0, body.length >> 1)]
  response.socket?.write(Buffer.concat(start))
}

function sendGarbage(response: ServerResponse): void {
  // 0xff begins no protocol's answer; what follows may be anything.
  const bytes = Buffer.concat([Buffer.from([0xff]), randomBytes(255)])
  response.socket?.write(bytes, () => response.destroy())
}

/** Status line and headers as bytes: node:http would insist on sending the body that they promise. */
function head(answer: MetadataAnswer, contentLength: number): Buffer {
  const headers = Object.entries({ ...answer.headers, 'Content-Length': contentLength })
  const lines = headers.map(([name, text]) => `${name}: ${text}`)
  const status = `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? ''}`
  return Buffer.from([status, ...lines, '', ''].join('\r\n'))
}
