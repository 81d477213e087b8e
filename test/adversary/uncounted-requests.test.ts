/**
 * A user sends thousands of requests on one connection, unread, of the kinds that an HTTP server answers by itself: with an
 * expectation that nobody knows, without a Host, with a target that is no path.
 */
import { expect, inject, test } from 'vitest'
import { attack, whileServed } from '../harness/attack.ts'

const SEND = `import socket,sys
for request in sys.argv[2:]:
  s = socket.socket(socket.AF_UNIX)
  s.connect(sys.argv[1])
  piece = request.encode() * 1000
  sent = 0
  try:
    for _ in range(20): s.sendall(piece)
  except OSError: pass
  got = b''
  try:
    while some := s.recv(65536): got += some
  except OSError: pass
  print(got.count(b'HTTP/1.1 '))`

const KINDS = [
  'GET /latest/meta-data/ HTTP/1.1\r\nHost: x\r\nExpect: nothing\r\n\r\n',
  'GET /latest/meta-data/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n',
  'GET /latest/meta-data/ HTTP/1.1\r\n\r\n',
  'GET /% HTTP/1.1\r\nHost: x\r\n\r\n',
  'GET /latest/meta-data/ HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
]

test('no kind of request goes uncounted', async () => {
  const { metadataSocket } = inject('target')
  const said = await whileServed(metadataSocket, () => attack(SEND, [metadataSocket, ...KINDS]))
  const answered = said.trim().split('\n').map(Number)
  expect(answered).toHaveLength(KINDS.length)
  // A 100 comes before the answer, so there are two of each.
  for (const [at, count] of answered.entries()) expect(count, KINDS[at]).toBeLessThanOrEqual(32)
})
