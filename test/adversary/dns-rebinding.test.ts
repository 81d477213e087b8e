/**
 * A web page that root opens in the browser beside the status page lets its own name lead to 127.0.0.1, and asks for
 * the status page under that name; then it asks across sites: by fetch, a form, a frame, a script and an image.
 */
import { expect, inject, test } from 'vitest'
import { accomplice, whileServed } from '../harness/attack.ts'
import { ownBrowser, ownStatusPage } from '../harness/status-page.ts'

const SERVE = `import http.server,sys
PAGE = '''<body><script>
const at = 'http://127.0.0.1:%s/ui'
const got = []
const load = (name, attributes) => new Promise(resolve => {
  const one = Object.assign(document.createElement(name), attributes)
  one.onload = () => resolve(name + ' loaded'); one.onerror = () => resolve(name + ' failed')
  document.body.append(one)
})
const json = {'content-type': 'application/json'}
Promise.all([
  fetch(at + '/events', {credentials: 'include'}).then(() => 'read', () => 'failed'),
  fetch(at + '/acknowledge', {method: 'POST', credentials: 'include', headers: json, body: '{"alarm":1}'}).then(() => 'read', () => 'failed'),
  load('script', {src: at + '/page.js'}), load('img', {src: at + '/page.css'}),
  load('link', {rel: 'stylesheet', href: at + '/page.css'}),
]).then(all => { document.title = 'got:' + all.join() })
</script><iframe name=frame src="http://127.0.0.1:%s/ui"></iframe>''' % (sys.argv[1], sys.argv[1])
class Handler(http.server.BaseHTTPRequestHandler):
  def log_message(self, *args): pass
  def do_GET(self):
    self.send_response(200); self.send_header('content-type', 'text/html'); self.end_headers()
    self.wfile.write(PAGE.encode())
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()`

test('it reads nothing, under its own name and under the right one', async () => {
  const target = inject('target')
  const ui = await ownStatusPage(target)
  const chromium = await ownBrowser('--host-resolver-rules=MAP *.example 127.0.0.1')
  const tab = await chromium.open()
  await tab.goto(ui.url)
  await tab.until(`document.querySelector('.link.live')`)
  const server = accomplice(SERVE, [String(ui.port)])
  const port = await server.said()
  await whileServed(target.metadataSocket, async () => {
    const other = await chromium.open(tab)
    await other.goto(`http://evil.example:${ui.port}/ui`)
    await other.until(`document.body?.innerText.includes('UI_ORIGIN')`)
    const own = `fetch('/ui/events').then((got) => got.text())`
    expect(await other.value(own)).toMatch(/^UI_ORIGIN: /)
    await other.goto(`http://evil.example:${port}/`)
    await other.until(`document.title.startsWith('got:')`)
    expect(await other.value('document.title')).toBe(
      'got:failed,failed,script failed,img failed,link failed',
    )
  })
  expect(await tab.value(`document.querySelector('.link').className`)).toContain('live')
})
