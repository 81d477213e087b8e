/**
 * A user sends twenty thousand requests on one connection without waiting for an answer, in one piece and then without
 * an end, to have the agent keep them all.
 */
import { expect, inject, test } from 'vitest'
import { ATTACKER, attack, whileServed } from '../harness/attack.ts'
import { tokenAs } from '../harness/unix-http.ts'

const SEND = `import socket,sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
request = b'GET /latest/meta-data/instance-id HTTP/1.1\\r\\nHost: x\\r\\nX-aliyun-ecs-metadata-token: ' + sys.argv[2].encode() + b'\\r\\n\\r\\n'
sent = 0
try:
  while sent < 20000 * len(request): sent += s.send(request * 1000)
except OSError: pass
got = b''
try:
  while some := s.recv(65536): got += some
except OSError: pass
print(sent // len(request), got.count(b'HTTP/1.1 '))`

test('a connection that sends ahead is closed, and most of what it sent is never read', async () => {
  const { metadataSocket } = inject('target')
  const { body: token } = await tokenAs({ uid: ATTACKER }, metadataSocket)
  const said = await whileServed(metadataSocket, () => attack(SEND, [metadataSocket, token]))
  const [sent = 0, answered = 0] = said.split(' ').map(Number)
  // The kernel takes some for a connection, of which the agent reads a piece.
  expect(sent).toBeLessThan(5000)
  expect(answered).toBeLessThanOrEqual(16)
})
