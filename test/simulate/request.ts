import { once } from 'node:events'
import { type Agent, type IncomingHttpHeaders, request } from 'node:http'
import { buffer } from 'node:stream/consumers'

export interface Answered {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** One request as given: the path unnormalised, headers as name, value, name, value. */
export async function send(
  base: string,
  method: string,
  path: string,
  headers: readonly string[] = [],
  agent: Agent | false = false,
): Promise<Answered> {
  const { hostname, port, protocol } = new URL(base)
  const where = protocol === 'unix:' ? { socketPath: base.slice(5) } : { host: hostname, port }
  // The admin socket takes a domain for that of a web page.
  const host = ['Host', protocol === 'unix:' ? 'metabind' : 'metadata.example']
  const outgoing = request({ ...where, method, path, headers: [...host, ...headers], agent })
  outgoing.end()
  const [incoming] = await once(outgoing, 'response')
  const body = await buffer(incoming)
  return { status: incoming.statusCode, headers: incoming.headers, body: body.toString() }
}

export async function openSession(base: string, ttlSeconds = 60): Promise<string> {
  const answered = await putToken(base, [
    'X-aliyun-ecs-metadata-token-ttl-seconds',
    `${ttlSeconds}`,
  ])
  return answered.body
}

export function putToken(base: string, headers: readonly string[]): Promise<Answered> {
  return send(base, 'PUT', '/latest/api/token', headers)
}

export function get(base: string, path: string, token?: string, agent?: Agent): Promise<Answered> {
  const headers = token === undefined ? [] : ['X-aliyun-ecs-metadata-token', token]
  return send(base, 'GET', path, headers, agent)
}
