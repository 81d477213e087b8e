import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { endPeer, type PeerOptions, startPeer } from './peer.ts'
import { PYTHON_UNIX_HTTP } from './python-unix-http.ts'

/** An answer as it came over the socket. */
export interface PeerAnswer {
  readonly status: number
  readonly body: string
}

// One connection, one request after the other, as told on standard input; an answer each on a line.
const CLIENT = `${PYTHON_UNIX_HTTP}import json
def ask(method, path, headers, body=None):
  global there
  try:
    there.request(method, path, body, headers)
    answer = there.getresponse()
    return [answer.status, answer.read().decode('latin1')]
  except (OSError, http.client.HTTPException) as error:
    return [0, repr(error)]
there = Unix('metadata')
token = None
for method, path, headers, *body in json.loads(sys.argv[2]):
  if token is not None: headers.setdefault('x-aliyun-ecs-metadata-token', token)
  status, said = ask(method, path, headers, *body)
  if method == 'PUT' and status == 200: token = said
  print(json.dumps([status, said]))`

const PUT: Asked = [
  'PUT',
  '/latest/api/token',
  { 'x-aliyun-ecs-metadata-token-ttl-seconds': '600' },
]

/** Method, path and headers, and a body if it has one. */
export type Asked = readonly [string, string, Readonly<Record<string, string>>, string?]

/** Sends requests over one connection of one process; a token that it is given goes with the next ones. */
export async function askAs(
  options: PeerOptions,
  socketPath: string,
  asked: readonly Asked[],
): Promise<PeerAnswer[]> {
  const peer = startPeer(CLIENT, [socketPath, JSON.stringify(asked)], options)
  const closed = once(peer, 'close')
  const printed = peer.stdout === null ? '' : await text(peer.stdout)
  await closed
  await endPeer(peer)
  const answers = printed.split('\n').filter((line) => line !== '')
  if (answers.length !== asked.length) throw new Error(`${answers.length} answers: ${printed}`)
  return answers.map((line) => {
    const [status, body]: [number, string] = JSON.parse(line)
    return { status, body }
  })
}

/** Makes a token. */
export async function tokenAs(options: PeerOptions, socketPath: string): Promise<PeerAnswer> {
  const [made] = await askAs(options, socketPath, [PUT])
  return made ?? { status: 0, body: '' }
}

/** Reads a path with a token of one's own, or with another's. */
export async function readAs(
  options: PeerOptions,
  socketPath: string,
  path: string,
  token?: string,
): Promise<PeerAnswer> {
  const headers = token === undefined ? {} : { 'x-aliyun-ecs-metadata-token': token }
  const asked: Asked[] = token === undefined ? [PUT, ['GET', path, {}]] : [['GET', path, headers]]
  return (await askAs(options, socketPath, asked)).at(-1) ?? { status: 0, body: '' }
}

/** Sends a body with a token. */
export async function postAs(
  options: PeerOptions,
  socketPath: string,
  path: string,
  token: string,
  body: string,
): Promise<PeerAnswer> {
  const asked: Asked = ['POST', path, { 'x-aliyun-ecs-metadata-token': token }, body]
  return (await askAs(options, socketPath, [asked])).at(-1) ?? { status: 0, body: '' }
}
