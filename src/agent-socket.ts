import { connect } from 'node:net'
import { roleErrorIn } from './dialect/role-code.ts'
import { ERRORS } from './error-table.ts'
import { type ErrorCode, MetabindError, nodeErrorCode } from './errors.ts'
import { type PlainAnswer, readAnswer } from './plain-answer.ts'

/** One request to a socket of the agent, as every client of it sends them. */

/** Where an agent's sockets are. */
export interface Sockets {
  readonly metadata: string
  readonly admin: string
}

/** An answer of the agent. */
export type AgentAnswer = Omit<PlainAnswer, 'status'>

/** What an agent is asked. */
export interface Asked {
  readonly method: 'GET' | 'PUT' | 'POST'
  readonly path: string
  readonly headers?: Record<string, string>
  readonly body?: string
  readonly timeoutMs?: number
}

const ANSWER_BYTES_MAX = 33_554_432
export const TIMEOUT_MS = 30_000
const IN_PATH = /^[\x21-\x7e]+$/
const IN_HEADER = /^[\x20-\x7e]+$/

/** Asks, and takes a 200 for an answer. @throws MetabindError what the agent refuses with, SOCKET_… */
export async function ask(socketPath: string, asked: Asked): Promise<AgentAnswer> {
  const text = requestText(asked)
  const { status, headers, body } = await exchange(socketPath, text, asked.timeoutMs)
  if (status !== 200) throw refusal(status, body)
  return { headers, body }
}

/** @throws MetabindError SOCKET_… */
async function exchange(path: string, text: string, timeoutMs = TIMEOUT_MS): Promise<PlainAnswer> {
  const socket = connect(path)
  socket.setTimeout(timeoutMs, () => socket.destroy(new Error('no answer')))
  socket.write(text)
  try {
    return await readAnswer(socket, ANSWER_BYTES_MAX)
  } catch (error) {
    throw connectionError(path, error)
  } finally {
    socket.destroy()
  }
}

/** A request that ends its connection. @throws MetabindError for what would not stay in its line */
function requestText({ method, path, headers = {}, body = '' }: Asked): string {
  if (!IN_PATH.test(path)) throw new MetabindError('REQUEST_PATH')
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  if (!lines.every((line) => IN_HEADER.test(line))) throw new MetabindError('REQUEST_HEADERS')
  const length = body === '' ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]
  const head = [`${method} ${path} HTTP/1.1`, 'Host: localhost', 'Connection: close']
  return `${[...head, ...lines, ...length].join('\r\n')}\r\n\r\n${body}`
}

/** The agent's refusal, by the code that its body begins with. */
function refusal(status: number, body: Buffer): MetabindError {
  const text = body.subarray(0, 256).toString('latin1')
  const role = roleErrorIn(text)
  if (role !== undefined) return role
  const code = knownCode(text.split(':', 1)[0] ?? '')
  return code === undefined
    ? new MetabindError('SOCKET_BROKEN', `It answered with status ${status}.`)
    : new MetabindError(code)
}

/** A code of the table, if the text is one. */
export function knownCode(text: string): ErrorCode | undefined {
  return Object.hasOwn(ERRORS, text) ? (text as ErrorCode) : undefined
}

function connectionError(path: string, error: unknown): MetabindError {
  const errno = nodeErrorCode(error)
  const code =
    errno === 'ENOENT' || errno === 'ECONNREFUSED'
      ? 'SOCKET_ABSENT'
      : errno === 'EACCES' || errno === 'EPERM'
        ? 'SOCKET_NOT_PERMITTED'
        : 'SOCKET_BROKEN'
  return new MetabindError(code, path, error)
}
