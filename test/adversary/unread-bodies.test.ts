/**
 * A user asks for something slow on a hundred connections, and behind it on each sends a request whose body never ends, as
 * fast as the kernel takes it.
 */
import { expect, test } from 'vitest'
import { ATTACKER, attack, ownAgent, whileServed } from '../harness/attack.ts'
import { tokenAs } from '../harness/unix-http.ts'

const SEND = `import selectors,socket,sys,time
head = 'X-aliyun-ecs-metadata-token: ' + sys.argv[2] + '\\r\\nHost: x\\r\\n'
slow = 'GET /latest/meta-data/zone-id HTTP/1.1\\r\\n' + head + '\\r\\n'
bodied = 'GET /metabind/v1/whoami HTTP/1.1\\r\\n' + head + 'Content-Length: 1000000000\\r\\n\\r\\n'
ready = selectors.DefaultSelector()
for at in range(100):
  one = socket.socket(socket.AF_UNIX)
  one.connect(sys.argv[1])
  one.sendall((slow + bodied).encode())
  one.setblocking(False)
  ready.register(one, selectors.EVENT_WRITE)
sent, end = 0, time.monotonic() + 5
while ready.get_map() and time.monotonic() < end:
  for key, _ in ready.select(1):
    try: sent += key.fileobj.send(b'x' * 65536)
    except BlockingIOError: pass
    except OSError: ready.unregister(key.fileobj)
print(sent, len(ready.get_map()))`

test('bodies that nobody reads are not kept', async (context) => {
  const { instance, cgroup } = await ownAgent(context)
  const { metadataSocket, cloud } = instance
  const { body: token } = await tokenAs({ uid: ATTACKER }, metadataSocket)
  cloud?.faults.set({ kind: 'latency', ms: 4000, path: '/latest/meta-data/zone-id' })
  const before = await cgroup.bytes()
  const said = await whileServed(metadataSocket, () => attack(SEND, [metadataSocket, token]))
  const [sent = 0] = said.split(' ').map(Number)
  expect(await cgroup.kills()).toBe(0)
  // What the kernel keeps of them is charged to the agent as well.
  expect((await cgroup.peakBytes()) - before).toBeLessThan(Math.max(sent / 4, 64 * 2 ** 20))
  expect(instance.agent.child.exitCode).toBe(null)
})
