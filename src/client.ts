import { type AgentAnswer, type Asked, ask, type Sockets } from './agent-socket.ts'
import type { Dialect } from './dialect/dialect.ts'
import { DIALECTS } from './dialect/dialects.ts'
import { MetabindError } from './errors.ts'
import { Secret } from './secret.ts'

// What can stand in a header.
const TOKEN = /^[\x21-\x7e]{1,1024}$/

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
    ({ ttlHeader }) => answer.headers[ttlHeader] !== undefined,
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
  return askMetadata(sockets, { method: 'GET', path, headers: tokenHeaders(token) })
}

/** Asks for what is made of a body, with a token. @throws MetabindError */
export function postMetadata(
  sockets: Sockets,
  path: string,
  token: Secret<string>,
  body: string,
): Promise<AgentAnswer> {
  return askMetadata(sockets, { method: 'POST', path, headers: tokenHeaders(token), body })
}

function tokenHeaders(token: Secret<string>): Record<string, string> {
  return Object.fromEntries(
    Object.values(DIALECTS).map((dialect) => [dialect.tokenHeader, token.reveal()]),
  )
}

/** Before the agent is ready there is no metadata socket; its admin socket then says why. */
async function askMetadata(sockets: Sockets, asked: Asked): Promise<AgentAnswer> {
  try {
    return await ask(sockets.metadata, asked)
  } catch (error) {
    if (!(error instanceof MetabindError) || error.code !== 'SOCKET_ABSENT') throw error
    // Only then: it parses by schemas, which take longer to load than most commands run.
    const { whyNotReady } = await import('./admin-client.ts')
    throw (await whyNotReady(sockets)) ?? error
  }
}
