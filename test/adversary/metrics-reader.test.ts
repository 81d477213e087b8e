/**
 * A program that may read metrics, and nothing else, tries all calls of the admin socket where the metrics are, and opens
 * the admin socket itself.
 */
import { expect, onTestFinished, test } from 'vitest'
import { ADMIN_CALLS, ADMIN_PREFIX } from '../../src/admin-api.ts'
import { attack, ownAgent, whileServed } from '../harness/attack.ts'
import { freePort } from '../harness/free-port.ts'
import { holdSockets } from '../harness/held-sockets.ts'

const ASK = `import http.client,json,socket,sys,time
for verb, path in json.loads(sys.argv[2]):
  while True:
    there = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]))
    there.request(verb, path, body='{}' if verb == 'POST' else None, headers={'content-type': 'application/json'})
    answer = there.getresponse()
    body = answer.read()
    if answer.status != 429: break
    time.sleep(float(answer.getheader('retry-after')))
  print(answer.status, b'# TYPE metabind_' in body)
try: socket.socket(socket.AF_UNIX).connect(sys.argv[3])
except OSError as error: print(error.strerror)`

test('who reads metrics can do nothing else', async (context) => {
  const port = await freePort()
  const held = holdSockets({ metrics: port })
  onTestFinished(() => held.close())
  const { metadataSocket, adminSocket } = (await ownAgent(context, { agent: held.agent })).instance
  const calls = Object.values(ADMIN_CALLS).map(({ method, name }) => [method, ADMIN_PREFIX + name])
  const paths = [
    '/metabind/v1/metrics',
    '/latest/api/token',
    '/metrics/../metabind/v1/status',
    '/ui',
  ]
  const asked = [...calls, ...paths.map((path) => ['GET', path]), ['POST', '/metrics']]
  const said = await whileServed(metadataSocket, () =>
    attack(ASK, [String(port), JSON.stringify([['GET', '/metrics'], ...asked]), adminSocket]),
  )
  const [metrics, ...others] = said.trim().split('\n')
  expect(metrics).toBe('200 True')
  expect(others.pop()).toBe('Permission denied')
  expect(others).toHaveLength(asked.length)
  for (const other of others) expect(other).toMatch(/^4\d\d False$/)
})
