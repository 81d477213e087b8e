import { type IncomingHttpHeaders, request } from 'node:http'
import type { z } from 'zod'
import { ADMIN_CALLS, ADMIN_PREFIX, type AdminCall, type AdminRead } from './admin-api.ts'
import type { Dialect } from './dialect/dialect.ts'
import { DIALECTS } from './dialect/dialects.ts'
import { roleErrorIn } from './dialect/role-code.ts'
import { ERRORS } from './error-table.ts'
import { type ErrorCode, MetabindError, nodeErrorCode } from './errors.ts'
import { nestsDeeperThan } from './format/json-depth.ts'
import { Secret } from './secret.ts'

/** Where an agent's sockets are. */
export interface Sockets {
  readonly metadata: string
  readonly admin: string
}

/** An answer of the agent. */
export interface AgentAnswer {
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

interface Asked {
  readonly method: 'GET' | 'PUT' | 'POST'
  readonly path: string
  readonly headers?: Record<string, string>
  readonly body?: string
  readonly timeoutMs?: number
}

const ANSWER_BYTES_MAX = 33_554_432
// What the agent says as JSON is short and flat: evidence, with an event log in it, is the longest.
const JSON_BYTES_MAX = 4_194_304
const JSON_DEPTH_MAX = 32
// What can stand in a header.
const TOKEN = /^[\x21-\x7e]{1,1024}$/
const TIMEOUT_MS = 30_000

/** A session token, and the words of the agent that made it. */
export interface MadeToken {
  readonly text: Secret<string>
  readonly dialect: Dialect
}

/** Makes a session token. @throws MetabindError */
export async function makeToken(sockets: Sockets, ttlSeconds: string): Promise<Secret<string>> {
  return (await makeTokenOf(sockets, ttlSeconds)).text
}

/** Makes a session token and says whose it is. @throws MetabindError */
export async function makeTokenOf(sockets: Sockets, ttlSeconds: string): Promise<MadeToken> {
  // The agent reads the header of its own dialect, whichever that is.
  const headers = Object.fromEntries(
    Object.values(DIALECTS).map((dialect) => [dialect.ttlHeader, ttlSeconds]),
  )
  // All clouds make tokens at one path; a test holds it.
  const path = DIALECTS.aliyun.tokenPath
  const answer = await askMetadata(sockets, { method: 'PUT', path, headers })
  // It echoes the lifetime in the header that it read.
  const dialect = Object.values(DIALECTS).find(
    ({ ttlHeader }) => answer.headers[ttlHeader.toLowerCase()] !== undefined,
  )
  if (dialect === undefined) throw new MetabindError('SOCKET_BROKEN', 'It echoed no lifetime.')
  const text = answer.body.toString('latin1')
  if (!TOKEN.test(text)) throw new MetabindError('SOCKET_BROKEN', 'It sent no token.')
  return { text: new Secret(text), dialect }
}

/** Reads metadata with a token. @throws MetabindError */
export function readMetadata(
  sockets: Sockets,
  path: string,
  token: Secret<string>,
): Promise<AgentAnswer> {
  const headers = Object.fromEntries(
    Object.values(DIALECTS).map((dialect) => [dialect.tokenHeader, token.reveal()]),
  )
  return askMetadata(sockets, { method: 'GET', path, headers })
}

/** Asks the admin socket. @throws MetabindError */
export async function readAdmin<Answer>(
  sockets: Sockets,
  { method, name, answer }: AdminRead<Answer>,
): Promise<Answer> {
  const { body } = await ask(sockets.admin, { method, path: `${ADMIN_PREFIX}${name}` })
  return answerIn(answer, body)
}

/** Calls the admin socket with a request. @throws MetabindError */
export async function callAdmin<Request extends object, Answer>(
  sockets: Sockets,
  { method, name, answer }: AdminCall<Request, Answer>,
  request: Request,
  timeoutMs = TIMEOUT_MS,
): Promise<Answer> {
  const { body } = await ask(sockets.admin, {
    method,
    path: `${ADMIN_PREFIX}${name}`,
    timeoutMs,
    body: JSON.stringify(request),
    headers: { 'content-type': 'application/json' },
  })
  return answerIn(answer, body)
}

/**
 * Asks the metadata socket what the admin socket answers to administrators: what it says of the caller
 * alone. @throws MetabindError
 */
export async function askOfSelf<Answer>(
  sockets: Sockets,
  name: string,
  answer: z.ZodType<Answer>,
  token: Secret<string>,
): Promise<Answer> {
  const { body } = await readMetadata(sockets, `${ADMIN_PREFIX}${name}`, token)
  return answerIn(answer, body)
}

function answerIn<Answer>(schema: z.ZodType<Answer>, body: Buffer): Answer {
  const parsed = schema.safeParse(parseJson(body))
  if (parsed.success) return parsed.data
  throw new MetabindError('SOCKET_BROKEN', 'Its answer is not that of an agent.', parsed.error)
}

/** Whoever listens on the socket need not be the agent. */
function parseJson(body: Buffer): unknown {
  if (body.length > JSON_BYTES_MAX || nestsDeeperThan(JSON_DEPTH_MAX, body)) {
    throw new MetabindError('SOCKET_BROKEN', 'Its answer is too long or too deep.')
  }
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (error) {
    throw new MetabindError('SOCKET_BROKEN', 'Its answer is no JSON.', error)
  }
}

/** Whether the admin socket is for others than this user, or is not there to be asked. */
export function isNotForUs(error: unknown): boolean {
  return (
    error instanceof MetabindError &&
    (error.code === 'SOCKET_NOT_PERMITTED' || error.code === 'SOCKET_ABSENT')
  )
}

/** Before the agent is ready there is no metadata socket; its admin socket then says why. */
async function askMetadata(sockets: Sockets, asked: Asked): Promise<AgentAnswer> {
  try {
    return await ask(sockets.metadata, asked)
  } catch (error) {
    if (!(error instanceof MetabindError) || error.code !== 'SOCKET_ABSENT') throw error
    throw (await whyNotReady(sockets)) ?? error
  }
}

/** Undefined if no agent says that it is not ready: then the socket has been removed, or is another's. */
async function whyNotReady(sockets: Sockets): Promise<MetabindError | undefined> {
  try {
    const { ready, problem } = await readAdmin(sockets, ADMIN_CALLS.status)
    if (ready) return undefined
    const code = problem && knownCode(problem.code)
    const of = code === undefined ? '' : `It waits: ${ERRORS[code].sentence}`
    return new MetabindError('AGENT_NOT_READY', of)
  } catch {
    return undefined
  }
}

function ask(socketPath: string, asked: Asked): Promise<AgentAnswer> {
  return new Promise((resolve, reject) => {
    const { method, path, headers, timeoutMs: timeout = TIMEOUT_MS } = asked
    const sent = request({ socketPath, method, path, headers, timeout }, (answer) => {
      const chunks: Buffer[] = []
      let bytes = 0
      answer.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes > ANSWER_BYTES_MAX) answer.destroy(new Error('answer too large'))
        else chunks.push(chunk)
      })
      answer.on('error', (error) => reject(connectionError(socketPath, error)))
      answer.on('end', () => {
        const body = Buffer.concat(chunks)
        if (answer.statusCode === 200) resolve({ headers: answer.headers, body })
        else reject(refusal(answer.statusCode ?? 0, body))
      })
    })
    sent.on('timeout', () => sent.destroy(new Error('no answer')))
    sent.on('error', (error) => reject(connectionError(socketPath, error)))
    sent.end(asked.body)
  })
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

function knownCode(text: string): ErrorCode | undefined {
  return Object.hasOwn(ERRORS, text) ? (text as ErrorCode) : undefined
}

function connectionError(path: string, error: Error): MetabindError {
  const errno = nodeErrorCode(error)
  const code =
    errno === 'ENOENT' || errno === 'ECONNREFUSED'
      ? 'SOCKET_ABSENT'
      : errno === 'EACCES' || errno === 'EPERM'
        ? 'SOCKET_NOT_PERMITTED'
        : 'SOCKET_BROKEN'
  return new MetabindError(code, path, error)
}
