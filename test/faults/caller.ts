import { createInterface } from 'node:readline'
import { endPeer, startPeer } from '../harness/peer.ts'

/** A request as a caller sends it. */
interface Request {
  readonly method: 'GET' | 'PUT'
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
}

/** What came back: an answer, or why there was none. */
export interface Answer {
  readonly status?: number
  readonly body: string
  /** X-Metabind-Cache. */
  readonly cache?: string
  readonly ageSeconds?: number
  /** How the connection ended without an answer. */
  readonly lost?: string
}

/** A process of a user of its own that sends what it is told, one request after the other. */
export interface Caller {
  readonly uid: number
  ask(request: Request): Promise<Answer>
  end(): Promise<void>
}

// One connection, kept; another one when that has ended. A request that was lost is not sent again.
const SCRIPT = `import http.client,json,socket,sys
class Unix(http.client.HTTPConnection):
  def connect(self):
    self.sock = socket.socket(socket.AF_UNIX)
    self.sock.settimeout(40)
    self.sock.connect(sys.argv[1])
there = Unix('metadata')
for line in sys.stdin:
  method, path, headers = json.loads(line)
  try:
    there.request(method, path, headers=headers)
    answer = there.getresponse()
    cache, age = answer.getheader('x-metabind-cache'), answer.getheader('age')
    said = {'status': answer.status, 'body': answer.read().decode('latin1')}
    if cache: said['cache'] = cache
    if age: said['ageSeconds'] = int(age)
  except (OSError, http.client.HTTPException) as error:
    there.close()
    said = {'body': '', 'lost': type(error).__name__}
  print(json.dumps(said), flush=True)`

export function startCaller(uid: number, socketPath: string): Caller {
  const child = startPeer(SCRIPT, [socketPath], { uid })
  const waiting: ((answer: Answer) => void)[] = []
  if (child.stdout === null) throw new Error('a caller without an output')
  createInterface(child.stdout).on('line', (line) => waiting.shift()?.(JSON.parse(line)))
  child.stdin?.on('error', () => undefined)
  child.once('exit', () => {
    for (const resolve of waiting.splice(0)) resolve({ body: '', lost: 'the caller ended' })
  })
  return {
    uid,
    ask: ({ method, path, headers }) =>
      new Promise((resolve) => {
        waiting.push(resolve)
        child.stdin?.write(`${JSON.stringify([method, path, headers])}\n`)
      }),
    end: () => endPeer(child),
  }
}
