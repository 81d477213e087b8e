/**
 * A user sends requests of as many short headers as fit, on a hundred connections at once, as each takes ten times of the
 * heap what was sent.
 */
import { expect, inject, test } from 'vitest'
import { attack, whileServed } from '../harness/attack.ts'

const SEND = `import collections,socket,sys
held = [socket.socket(socket.AF_UNIX) for _ in range(100)]
said = collections.Counter()
for count in (60, 65, 1000, 1500):
  head = ''.join('%x:\\r\\n' % (4096 + at) for at in range(count))
  request = 'GET /latest/meta-data/ HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n' + head + '\\r\\n'
  held = [socket.socket(socket.AF_UNIX) for _ in range(100)]
  for one in held: one.connect(sys.argv[1])
  for one in held: one.sendall(request.encode())
  said[count] = sorted({one.recv(12).decode()[9:] for one in held})
print(*said.items(), sep='\\n')`

test('a request has few headers, or is refused', async () => {
  const { metadataSocket } = inject('target')
  const said = await whileServed(metadataSocket, () => attack(SEND, [metadataSocket]))
  expect(said.trim().split('\n')).toEqual([
    "(60, ['403'])",
    "(65, ['431'])",
    "(1000, ['431'])",
    "(1500, ['431'])",
  ])
})
