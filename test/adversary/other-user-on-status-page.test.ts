/**
 * A user finds the port of root's status page in /proc/net/tcp, asks it for everything, guesses links, cookies and
 * keys, and then takes all of its connections and says nothing on them.
 */
import { expect, inject, test } from 'vitest'
import { UI_KEY_HEADER } from '../../src/ui-paths.ts'
import { attack, whileServed } from '../harness/attack.ts'
import { firstEvent, ownStatusPage } from '../harness/status-page.ts'
import { openLink } from '../harness/ui.ts'

const ATTACK = `import base64,http.client,json,os,socket,sys
def ask(port, method, path, headers={}, body=None):
  there = http.client.HTTPConnection('127.0.0.1', port, timeout=10)
  try:
    there.request(method, path, body, headers)
    answer = there.getresponse()
    return answer.status, answer.read(4096).decode('latin1')
  except (OSError, http.client.HTTPException): return 0, ''
listening = [line.split()[1] for line in open('/proc/net/tcp') if line.split()[3] == '0A']
ports = [int(one.split(':')[1], 16) for one in listening if one.startswith('0100007F')]
# Other tests have pages of their own.
page = [port for port in ports if port == int(sys.argv[2]) and 'metabind' in ask(port, 'GET', '/ui')[1]]
seen = []
for port in page:
  own = {'origin': f'http://127.0.0.1:{port}', 'content-type': 'application/json', 'sec-fetch-site': 'same-origin'}
  for guess in [{}] + [base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip('=') for _ in range(50)]:
    keys = {**own, 'cookie': f'metabind-ui-{port}={guess}', sys.argv[1]: str(guess)}
    for path in ['/ui/events', '/ui/explain/1', '/metabind/v1/status', '/metabind/v1/snapshot']:
      seen.append(ask(port, 'GET', path, keys)[0])
    seen.append(ask(port, 'POST', '/ui/session', own, json.dumps({'token': guess or 'A' * 43}))[0])
    seen.append(ask(port, 'POST', '/ui/acknowledge', keys, json.dumps({'alarm': 1}))[0])
held = [socket.create_connection(('127.0.0.1', port)) for port in page for _ in range(64)]
print(len(page) > 0, len(held) > 0, *sorted(set(seen)), flush=True)
try:
  for one in held: one.settimeout(60); one.recv(1)
except OSError: pass`

test('it is told nothing, and root has the page again when those who say nothing are closed', async () => {
  const ui = await ownStatusPage(inject('target'))
  const keys = await openLink(ui)
  const got = await whileServed(inject('target').metadataSocket, () =>
    attack(ATTACK, [UI_KEY_HEADER, String(ui.port)]),
  )
  // Not found, or refused; some may have met a limit.
  expect(got).toMatch(/^True True( (400|403|404|503))+\n$/)
  expect(await firstEvent(ui, keys)).toMatchObject({ status: { ready: true } })
})
