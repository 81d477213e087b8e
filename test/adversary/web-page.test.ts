/**
 * A developer has a bridge from a port of 127.0.0.1 to the socket. A web page, open in the developer's browser, asks for
 * a token and credentials there: by fetch across sites, by a form, by an image, and after DNS rebinding as its own site.
 */
import { once } from 'node:events'
import { expect, inject, onTestFinished, test } from 'vitest'
import { APP, attack, CREDENTIALS_PATH, whileServed } from '../harness/attack.ts'
import { endPeer, startPeer } from '../harness/peer.ts'

const BRIDGE = `import socket,sys,threading
def copy(one, other):
  try:
    while some := one.recv(65536): other.sendall(some)
    other.shutdown(socket.SHUT_WR)
  except OSError: pass
server = socket.create_server(('127.0.0.1', 0))
print(server.getsockname()[1], flush=True)
while True:
  client = server.accept()[0]
  there = socket.socket(socket.AF_UNIX)
  there.connect(sys.argv[1])
  for pair in ((client, there), (there, client)): threading.Thread(target=copy, args=pair, daemon=True).start()`

const BROWSE = `import socket,sys
s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
s.sendall(sys.argv[2].encode())
got = b''
while some := s.recv(65536): got += some
print(got.decode())`

const TTL = 'X-aliyun-ecs-metadata-token-ttl-seconds: 600'
const ACROSS = [
  'Origin: https://page.example',
  'Sec-Fetch-Site: cross-site',
  'Sec-Fetch-Mode: cors',
]
const PAGES: readonly (readonly [request: string, ...headers: string[]])[] = [
  ['OPTIONS /latest/api/token', ...ACROSS, 'Access-Control-Request-Method: PUT'],
  ['PUT /latest/api/token', TTL, ...ACROSS],
  ['PUT /latest/api/token', TTL, 'Origin: null'],
  // A name of the page's own that now leads to 127.0.0.1: the same site, and no Origin for GET.
  ['PUT /latest/api/token', TTL, 'Origin: http://rebound.example', 'Sec-Fetch-Site: same-origin'],
  [`GET ${CREDENTIALS_PATH}`, 'Sec-Fetch-Site: same-origin', 'Sec-Fetch-Dest: empty'],
  ['POST /latest/api/token', 'Referer: https://page.example/', 'Content-Length: 0'],
  [`GET ${CREDENTIALS_PATH}`, 'Sec-Fetch-Site: cross-site', 'Sec-Fetch-Dest: image'],
]

test('a page gets no token, no credentials and no leave to read across sites', async () => {
  const { metadataSocket } = inject('target')
  const bridge = startPeer(BRIDGE, [metadataSocket], { uid: APP })
  onTestFinished(() => endPeer(bridge))
  if (bridge.stdout === null) throw new Error('no output')
  const port = String((await once(bridge.stdout, 'data'))[0]).trim()
  await whileServed(metadataSocket, async () => {
    for (const [request, ...headers] of PAGES) {
      const lines = [`${request} HTTP/1.1`, `Host: rebound.example:${port}`, ...headers]
      const got = await attack(BROWSE, [port, [...lines, 'Connection: close', '', ''].join('\r\n')])
      expect(got, request).toMatch(/^HTTP\/1\.1 40[35] /)
      expect(got, request).not.toMatch(/access-control-|AccessKey/i)
    }
  })
})
