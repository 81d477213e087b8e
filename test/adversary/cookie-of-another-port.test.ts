/**
 * A user runs a web server on another port of 127.0.0.1 and gets root's browser to open it: by a link, say. A cookie
 * knows no port, so the browser sends it that of the status page, which the user then shows there itself; and the
 * user's page asks for the status page from inside the browser.
 */
import { expect, inject, test } from 'vitest'
import { UI_KEY_HEADER } from '../../src/ui-paths.ts'
import { accomplice, attack, whileServed } from '../harness/attack.ts'
import { ownBrowser, ownStatusPage } from '../harness/status-page.ts'

const SERVE = `import http.server,sys
PAGE = '''<script>Promise.all(['events', 'explain/1', 'page.js'].map(path =>
  fetch('http://127.0.0.1:%s/ui/' + path, {credentials: 'include'}).then(got => got.text()).catch(String)
)).then(all => { document.title = 'got:' + all.join() })</script>''' % sys.argv[1]
class Handler(http.server.BaseHTTPRequestHandler):
  def log_message(self, *args): pass
  def do_GET(self):
    print(self.path, self.headers.get('cookie', ''), flush=True)
    self.send_response(200); self.send_header('content-type', 'text/html'); self.end_headers()
    self.wfile.write(PAGE.encode())
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()`
const SHOW = `import http.client,sys
seen = []
value = sys.argv[2].split('=')[1]
for keys in [{}, {sys.argv[3]: value}, {sys.argv[3]: ''}]:
  there = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]), timeout=30)
  there.request('GET', '/ui/events', headers={'cookie': sys.argv[2], 'sec-fetch-site': 'same-origin', **keys})
  seen.append(there.getresponse().read(4096).decode().split(':')[0])
print(*seen)`

test('it gets the cookie, and nothing for it', async () => {
  const target = inject('target')
  const ui = await ownStatusPage(target)
  const tab = await (await ownBrowser()).open()
  await tab.goto(ui.url)
  await tab.until(`document.querySelector('.link.live')`)
  const server = accomplice(SERVE, [String(ui.port)])
  const port = await server.said()
  await whileServed(target.metadataSocket, async () => {
    await tab.goto(`http://127.0.0.1:${port}/ui/look`)
    const [, cookie = ''] = String(await server.said()).split(' ')
    expect(cookie).toMatch(new RegExp(`^metabind-ui-${ui.port}=`))
    const told = await attack(SHOW, [String(ui.port), cookie, UI_KEY_HEADER])
    expect(told).toBe('UI_KEY UI_KEY UI_KEY\n')
    await tab.until(`document.title.startsWith('got:')`)
    expect(await tab.value('document.title')).toMatch(
      /^got:TypeError[^,]*,TypeError[^,]*,TypeError[^,]*$/,
    )
  })
})
