/**
 * A user waits until root's `metabind ui` has ended, listens on its port, and tells the page that is still open in
 * root's browser that all is well: by the same addresses, with the headers that the command sends.
 */
import { expect, inject, test } from 'vitest'
import { accomplice, whileServed } from '../harness/attack.ts'
import { ask } from '../harness/metabind.ts'
import { ownBrowser, ownStatusPage } from '../harness/status-page.ts'

const SUCCEED = `import http.server,sys,time
class Handler(http.server.BaseHTTPRequestHandler):
  def log_message(self, *args): pass
  def do_GET(self):
    print(self.path, flush=True)
    self.send_response(200)
    self.send_header('content-type', 'text/event-stream; charset=utf-8')
    self.send_header('x-metabind-ui-server', self.headers.get('x-metabind-ui-key', 'A' * 43))
    self.end_headers()
    try:
      while True: self.wfile.write(b'data: ' + sys.argv[2].encode() + b'\\n\\n'); self.wfile.flush(); time.sleep(1)
    except OSError: pass
class Server(http.server.ThreadingHTTPServer):
  allow_reuse_address = True
  daemon_threads = True
while True:
  try: server = Server(('127.0.0.1', int(sys.argv[1])), Handler); break
  except OSError: time.sleep(0.1)
print('listens', flush=True)
server.serve_forever()`

test('the open page believes nothing of it, and says that it is over', async () => {
  const target = inject('target')
  const { body } = await ask(target.adminSocket, 'GET', '/metabind/v1/snapshot')
  const lie = body.replace(/"instanceId":"[^"]*"/, '"instanceId":"i-of-the-attacker"')
  expect(lie).not.toBe(body)
  const ui = await ownStatusPage(target)
  const tab = await (await ownBrowser()).open()
  await tab.goto(ui.url)
  await tab.until(`document.querySelector('.link.live')`)
  await whileServed(target.metadataSocket, async () => {
    const successor = accomplice(SUCCEED, [String(ui.port), lie])
    await ui.stop()
    expect(await successor.said()).toBe('listens')
    expect(await successor.said()).toBe('/ui/events')
    await tab.until(`document.querySelector('.link.refused')`)
    expect(await tab.value('document.body.innerText')).not.toContain('i-of-the-attacker')
  })
})
