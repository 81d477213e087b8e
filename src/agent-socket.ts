import { type Stats, statSync } from 'node:fs'
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { roleErrorIn } from './dialect/role-code.ts'
import { ERRORS } from './error-table.ts'
import { type ErrorCode, MetabindError, nodeErrorCode } from './errors.ts'

/** One request to a socket of the agent, as every client of it sends them. */

/** Where an agent's sockets are. */
export interface Sockets {
  readonly metadata: string
  readonly admin: string
}

/** An answer of the agent. */
export interface AgentAnswer {
  readonly headers: Readonly<IncomingHttpHeaders>
  readonly body: Buffer
}

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
  requireOneLine(asked)
  try {
    const answer = await answerOf(socketPath, asked)
    const body = await bodyOf(answer)
    if (answer.statusCode !== 200) throw refusal(answer.statusCode ?? 0, body)
    return { headers: answer.headers, body }
  } catch (error) {
    throw error instanceof MetabindError ? error : connectionError(socketPath, error)
  }
}

/** @throws MetabindError for what would not stay in its line */
function requireOneLine({ path, headers = {} }: Asked): void {
  if (!IN_PATH.test(path)) throw new MetabindError('REQUEST_PATH')
  const values = Object.values(headers)
  if (!values.every((value) => IN_HEADER.test(value))) throw new MetabindError('REQUEST_HEADERS')
}

/** Whether anybody listens on a socket; nothing is asked. @throws MetabindError SOCKET_… */
export function requireListener(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => {
      socket.destroy()
      resolve()
    })
    socket.on('error', (error) => reject(connectionError(path, error)))
  })
}

/** Sends a request that ends its connection. */
function answerOf(socketPath: string, asked: Asked): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { method, path, headers, timeoutMs: timeout = TIMEOUT_MS } = asked
    const sent = request({ socketPath, method, path, headers, timeout, agent: false }, resolve)
    sent.on('timeout', () => sent.destroy(new Error('no answer')))
    sent.on('error', reject)
    sent.end(asked.body)
  })
}

async function bodyOf(answer: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of answer) {
    bytes += chunk.length
    if (bytes > ANSWER_BYTES_MAX) throw new Error('the answer is too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
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

const NO_LISTENER = ['ENOENT', 'ENOTDIR', 'ECONNREFUSED', 'ENAMETOOLONG', 'ELOOP']

function connectionError(path: string, error: unknown): MetabindError {
  const errno = nodeErrorCode(error)
  const code =
    errno !== undefined && NO_LISTENER.includes(errno)
      ? 'SOCKET_ABSENT'
      : errno === 'EACCES' || errno === 'EPERM'
        ? 'SOCKET_NOT_PERMITTED'
        : 'SOCKET_BROKEN'
  return new MetabindError(code, `${path}${otherKind(path)}`, error)
}

function statIfAny(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch {
    return undefined
  }
}

/** What is said of something that is there and is no socket. */
function otherKind(path: string): string {
  const stat = statIfAny(path)
  if (stat === undefined || stat.isSocket()) return ''
  return stat.isDirectory() ? ' is a directory, not a socket.' : ' is not a socket.'
}
