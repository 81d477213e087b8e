/**
 * A user opens two hundred tunnels with CONNECT, goes on sending in them, and ends its process: what nobody reads would
 * stay open for ever.
 */
import { expect, inject, test } from 'vitest'
import { attack, whileServed } from '../harness/attack.ts'
import { connectionsOpen } from '../harness/http.ts'

const TUNNEL = `import os,socket,sys
held = [socket.socket(socket.AF_UNIX) for _ in range(200)]
for one in held:
  one.connect(sys.argv[1])
  one.sendall(b'CONNECT 100.100.100.200:80 HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' + b'GET / HTTP/1.1\\r\\n' * 1000)
ended = answered = 0
for one in held:
  one.settimeout(30)
  got = b''
  try:
    while True:
      try: one.send(b'x' * 65536, socket.MSG_DONTWAIT)
      except BlockingIOError: pass
      some = one.recv(65536)
      if some == b'': break
      got += some
  except TimeoutError: continue
  except OSError: pass
  ended += 1
  answered += b' 200 ' in got
print(ended, answered)`

test('no tunnel is opened, and none stays', async () => {
  const { metadataSocket, adminSocket } = inject('target')
  const said = await whileServed(metadataSocket, () => attack(TUNNEL, [metadataSocket]))
  expect(said).toBe('200 0\n')
  await expect.poll(() => connectionsOpen(adminSocket)).toBeLessThan(200)
})
