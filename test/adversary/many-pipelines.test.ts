/**
 * A user finds something that the source is slow to answer, asks for it on sixty connections, and sends fifteen further
 * requests behind it on each: never too many for one connection.
 */
import { expect, test } from 'vitest'
import { ATTACKER, attack, ownAgent, whileServed } from '../harness/attack.ts'
import { tokenAs } from '../harness/unix-http.ts'

const SEND = `import socket,sys
line = 'GET %s HTTP/1.1\\r\\nHost: x\\r\\nX-aliyun-ecs-metadata-token: ' + sys.argv[2] + '\\r\\n\\r\\n'
slow, behind = line % '/latest/meta-data/zone-id', line % '/metabind/v1/whoami'
held = [socket.socket(socket.AF_UNIX) for _ in range(60)]
for one in held:
  one.settimeout(60)
  one.connect(sys.argv[1])
  one.sendall((slow + behind * 15).encode())
counts = []
for one in held:
  got = b''
  try:
    while got.count(b'HTTP/1.1 ') < 16:
      some = one.recv(65536)
      if some == b'': break
      got += some
  except OSError: pass
  counts.append(got.count(b'HTTP/1.1 '))
print(counts.count(16), counts.count(0), sum(counts))`

test('what waits behind others is bounded for a user', async (context) => {
  const { instance } = await ownAgent(context, { config: 'source.timeout_ms = 60000' })
  const { metadataSocket, cloud } = instance
  const { body: token } = await tokenAs({ uid: ATTACKER }, metadataSocket)
  // Until all of them have come, on a busy machine too.
  cloud?.faults.set({ kind: 'latency', ms: 8000, path: '/latest/meta-data/zone-id' })
  const said = await whileServed(metadataSocket, () => attack(SEND, [metadataSocket, token]))
  const [whole = 0, closed = 0, answers] = said.split(' ').map(Number)
  // 128 wait behind others, fifteen of each connection; the other connections are closed.
  expect(whole).toBe(Math.floor(128 / 15))
  expect(closed).toBe(60 - whole)
  expect(answers).toBe(16 * whole)
})
