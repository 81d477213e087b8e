import type { z } from 'zod'
import { ADMIN_CALLS, ADMIN_PREFIX, type AdminCall, type AdminRead } from './admin-api.ts'
import { ask, knownCode, type Sockets, TIMEOUT_MS } from './agent-socket.ts'
import { ERRORS } from './error-table.ts'
import { MetabindError } from './errors.ts'
import { nestsDeeperThan } from './format/json-depth.ts'

// What the agent says as JSON is short and flat: evidence, with an event log in it, is the longest.
const JSON_BYTES_MAX = 4_194_304
const JSON_DEPTH_MAX = 32

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

/** The value of an answer that is JSON. @throws MetabindError SOCKET_BROKEN */
export function answerIn<Answer>(schema: z.ZodType<Answer>, body: Buffer): Answer {
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

/** Undefined if no agent says that it is not ready: then the socket has been removed, or is another's. */
export async function whyNotReady(sockets: Sockets): Promise<MetabindError | undefined> {
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
