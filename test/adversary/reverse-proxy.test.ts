/**
 * An application that may read credentials runs a reverse proxy, and passes all of its paths on to the socket by mistake.
 * A user of the network asks it over TCP; like every proxy it adds a header, of one name or another.
 */

import { once } from 'node:events'
import { expect, inject, onTestFinished, test } from 'vitest'
import { APP, attack, CREDENTIALS_PATH, whileServed } from '../harness/attack.ts'
import { endPeer, startPeer } from '../harness/peer.ts'
import { PYTHON_UNIX_HTTP } from '../harness/python-unix-http.ts'

const PROXY = `${PYTHON_UNIX_HTTP}import http.server
class Proxy(http.server.BaseHTTPRequestHandler):
  def do_GET(self):
    added = self.headers.get('added')
    passed = {name: self.headers[name] for name in self.headers if name != 'added'}
    there = Unix('metadata')
    there.request(self.command, self.path, headers={**passed, added: self.headers.get('value', '')})
    answer = there.getresponse()
    body = answer.read()
    self.send_response(answer.status)
    self.send_header('content-length', len(body))
    self.end_headers()
    self.wfile.write(body)
  do_PUT = do_GET
  def log_message(self, *_): pass
server = http.server.HTTPServer(('127.0.0.1', 0), Proxy)
print(server.server_port, flush=True)
server.serve_forever()`

const ASK = `import http.client,sys
port, path, token = int(sys.argv[1]), sys.argv[2], ''
def ask(verb, path, **headers):
  there = http.client.HTTPConnection('127.0.0.1', port)
  there.request(verb, path, headers={name.replace('_', '-'): value for name, value in headers.items()})
  answer = there.getresponse()
  return answer.status, answer.read().decode()
# What no proxy adds gets through: the way itself is open.
_, token = ask('PUT', '/latest/api/token', X_aliyun_ecs_metadata_token_ttl_seconds='600', added='X-Nothing')
for name in sys.argv[3:]:
  for value in ('', '10.0.0.9'):
    put = ask('PUT', '/latest/api/token', X_aliyun_ecs_metadata_token_ttl_seconds='600', added=name, value=value)
    got = ask('GET', path, X_aliyun_ecs_metadata_token=token, added=name, value=value)
    print(name, put[0], got[0], got[1].split(':')[0])`

const ADDED = [
  'X-Forwarded-For',
  'x-forwarded-host',
  'X-FORWARDED-PROTO',
  'Forwarded',
  'Via',
  'X-Real-IP',
]

test('whoever asks through a proxy gets nothing of what its user may have', async () => {
  const { metadataSocket } = inject('target')
  const proxy = startPeer(PROXY, [metadataSocket], { uid: APP })
  onTestFinished(() => endPeer(proxy))
  if (proxy.stdout === null) throw new Error('no output')
  const port = String((await once(proxy.stdout, 'data'))[0]).trim()
  const said = await whileServed(metadataSocket, () =>
    attack(ASK, [port, CREDENTIALS_PATH, ...ADDED]),
  )
  const refused = (name: string) => `${name} 403 403 REQUEST_FORWARDED`
  expect(said.trim().split('\n')).toEqual(ADDED.flatMap((name) => [refused(name), refused(name)]))
})
