/**
 * An administrator forwards a port of 127.0.0.1 to the admin socket. A web page in the browser there revokes every
 * token and reads the status, by requests across sites, and under a name of its own that leads to 127.0.0.1.
 */
import { expect, inject, test } from 'vitest'
import { APP, accomplice, whileServed } from '../harness/attack.ts'
import { ownBrowser } from '../harness/status-page.ts'
import { readAs, tokenAs } from '../harness/unix-http.ts'

// Prints the first line of each answer, so that it is seen that the page got as far as to the agent.
const FORWARD = `import socket,sys,threading
server = socket.create_server(('127.0.0.1', 0))
print(server.getsockname()[1], flush=True)
def copy(one, other, tell):
  try:
    while data := one.recv(65536):
      if tell: print(data.split(b'\\r\\n')[0].decode() + ' ' + data.split(b'\\r\\n\\r\\n')[-1].decode().split(':')[0], flush=True)
      other.sendall(data)
  except OSError: pass
  other.close()
while True:
  there, _ = server.accept()
  agent = socket.socket(socket.AF_UNIX); agent.connect(sys.argv[1])
  threading.Thread(target=copy, args=(there, agent, False), daemon=True).start()
  threading.Thread(target=copy, args=(agent, there, True), daemon=True).start()`
const SERVE = `import http.server
class Handler(http.server.BaseHTTPRequestHandler):
  def log_message(self, *args): pass
  def do_GET(self):
    self.send_response(200); self.send_header('content-type', 'text/html'); self.end_headers()
    self.wfile.write(b'<title>evil</title>')
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()`

test('the agent answers no browser, and every token is good still', async () => {
  const target = inject('target')
  const { body: token } = await tokenAs({ uid: APP }, target.metadataSocket)
  const { said } = accomplice(FORWARD, [target.adminSocket], {})
  const server = accomplice(SERVE, [])
  const admin = await said()
  const evil = await server.said()
  const tab = await (await ownBrowser('--host-resolver-rules=MAP *.example 127.0.0.1')).open()
  const refused = 'HTTP/1.1 403 Forbidden REQUEST_BROWSER'
  await whileServed(target.metadataSocket, async () => {
    await tab.goto(`http://127.0.0.1:${evil}/`)
    await tab.until(`document.title === 'evil'`)
    const simple = `{method: 'POST', mode: 'no-cors', body: '{"all":true}', headers: {'content-type': 'text/plain'}}`
    await tab.value(
      `fetch('http://127.0.0.1:${admin}/metabind/v1/revoke', ${simple}).then(() => 1, () => 0)`,
    )
    expect(await said()).toBe(refused)
    await tab.value(
      `fetch('http://127.0.0.1:${admin}/metabind/v1/status', {mode: 'no-cors'}).then(() => 1, () => 0)`,
    )
    expect(await said()).toBe(refused)
    await tab.goto(`http://evil.example:${admin}/metabind/v1/status`)
    expect(await said()).toBe(refused)
  })
  expect(
    (await readAs({ uid: APP }, target.metadataSocket, '/latest/meta-data/mac', token)).status,
  ).toBe(200)
})
