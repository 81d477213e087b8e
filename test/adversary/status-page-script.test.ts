/**
 * A user asks for paths that are markup, script and turned text, in a unit of its own session that has such a name, and
 * shows a token that is none. Root looks at the status page.
 */

import { randomBytes } from 'node:crypto'
import { expect, onTestFinished, test } from 'vitest'
import { ATTACKER, attack, ownAgent, whileServed } from '../harness/attack.ts'
import { makeCgroups } from '../harness/peer.ts'
import { PYTHON_UNIX_HTTP } from '../harness/python-unix-http.ts'
import { ownBrowser, ownStatusPage } from '../harness/status-page.ts'

const ASK = `${PYTHON_UNIX_HTTP}there = Unix('metadata')
there.request('PUT', '/latest/api/token', headers={'x-aliyun-ecs-metadata-token-ttl-seconds': '60'})
token = there.getresponse().read().decode()
bait = ['<img src=x onerror=window.broken=1>', '<script>window.broken=1</script>', '\\u202egnp', "'\\"><b>bold", 'javascript:window.broken=1', '{{7*7}}']
seen = set()
for one in bait:
  for path in ['/latest/user-data/' + one, '/latest/meta-data/' + one, '/latest/meta-data/ram/security-credentials/' + one]:
    for spelled in [path, path.replace(' ', '%20').replace('<', '%3C').replace('>', '%3E')]:
      raw = socket.socket(socket.AF_UNIX); raw.connect(sys.argv[1])
      raw.sendall(('GET ' + spelled.replace(' ', chr(0xa0) if '%' not in spelled else ' ') + ' HTTP/1.1\\r\\nHost: ' + 'x' + '\\r\\nConnection: close\\r\\nX-aliyun-ecs-metadata-token: ' + token + '\\r\\n\\r\\n').encode())
      while raw.recv(65536): pass
there.request('GET', '/latest/user-data', headers={'x-aliyun-ecs-metadata-token': token})
there.getresponse().read()
print('asked')`
// Form feeds part attributes as blanks do.
const UNIT = `<img\fsrc=x\fonerror=window.broken=1>\u202e"'&<b>${randomBytes(4).toString('hex')}.service`

test('all of it is text', async (context) => {
  const cgroups = makeCgroups()
  onTestFinished(() => cgroups.remove())
  // A user names its own units as it likes.
  const own = `user.slice/user-${ATTACKER}.slice/user@${ATTACKER}.service/app.slice/${UNIT}`
  const cgroup = cgroups.make(own)
  const { instance } = await ownAgent(context)
  await whileServed(instance.metadataSocket, async () => {
    const asked = await attack(ASK, [instance.metadataSocket], { uid: ATTACKER, cgroups: [cgroup] })
    expect(asked).toBe('asked\n')
    const ui = await ownStatusPage(instance)
    const tab = await (await ownBrowser()).open()
    await tab.goto(ui.url)
    await tab.until(`document.body?.innerText.includes('${ATTACKER}')`)
    expect(await tab.value('window.broken')).toBeUndefined()
    const strange =
      'img, b, iframe, style, script:not([src="/ui/page.js"]), [onerror], [href^="javascript"]'
    expect(await tab.value(`document.querySelectorAll(${JSON.stringify(strange)}).length`)).toBe(0)
    expect(await tab.value('document.body.innerText')).not.toMatch(/[\u202a-\u202e\u2066-\u2069]/)
    expect(tab.requests.filter((url) => !url.startsWith(`${ui.origin}/ui`))).toEqual([])
    expect(tab.complaints).toEqual([])
  })
})
