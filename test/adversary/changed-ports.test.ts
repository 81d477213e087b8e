/**
 * Under lockdown, a user takes the ports that others' connections come from: binds the port of root's own connection,
 * fills the listener's side with connections of its own so that the kernel must change the port of root's, and asks as
 * whoever the agent then takes it for.
 */
import { expect, test } from 'vitest'
import { accomplice, attack } from '../harness/attack.ts'
import { CLIENT, INTRUDER, onHost, ownGuarded, whileHostServed } from '../harness/own-guarded.ts'

const HOLD = `${CLIENT}
held = []
for at in range(50):
  s = socket.create_connection((SERVICE, 80), timeout=20, source_address=('10.77.0.2', 41000 + at)); held.append(s)
print('held', flush=True)
for line in sys.stdin:
  uids = set()
  for at in range(200):
    status, body = ask('GET', '/metabind/v1/whoami', {'x-aliyun-ecs-metadata-token': token()}, source=('10.77.0.2', 43000 + at))
    uids.add(json.loads(body)['uid'] if status == 200 else body.split(':')[0])
  print(*uids, flush=True)`
const TAKE = `${CLIENT}
seen = set()
def attempt(source, to):
  s = socket.socket(); s.settimeout(3)
  s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
  try:
    s.bind(source); s.connect(to)
    s.sendall(b'PUT /latest/api/token HTTP/1.1\\r\\nHost: x\\r\\nX-aliyun-ecs-metadata-token-ttl-seconds: 600\\r\\nConnection: close\\r\\n\\r\\n')
    got = s.recv(4096).decode()
    seen.add('token' if ' 200 ' in got else got.split('\\r\\n\\r\\n')[-1].split(':')[0])
  except OSError as error: seen.add(type(error).__name__)
  return s
kept = [attempt((address, port + at), to) for to in [('127.0.0.1', 9180), ('127.0.0.1', 9181), ('10.77.0.2', 9180)]
  for address, port in [('10.77.0.2', 41000), ('127.0.0.1', 41000), ('10.77.0.2', 43000)] for at in range(50)]
print(*sorted(seen), flush=True)
sys.stdin.read()`
const OWN = `${CLIENT}
status, body = ask('GET', '/metabind/v1/whoami', {'x-aliyun-ecs-metadata-token': token()})
print(json.loads(body)['uid'])`

test('root is root, the user is the user, and nobody is taken for another', async () => {
  const guarded = await ownGuarded()
  await guarded.lockdown('on')
  await whileHostServed(guarded, async () => {
    const root = accomplice(HOLD, [], onHost(guarded))
    expect(await root.said()).toBe('held')
    const user = accomplice(TAKE, [], onHost(guarded, INTRUDER))
    expect(await user.said()).not.toMatch(/token/)
    // Some ports may be taken, which is nobody's name.
    expect(await root.told('ask')).toMatch(/^(OSError )?0( OSError)?$/)
    expect(await attack(OWN, [], onHost(guarded, INTRUDER))).toBe(`${INTRUDER}\n`)
  })
})
