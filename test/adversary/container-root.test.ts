/**
 * Root of a container, in process numbers of its own, has the number of the host's root. It opens as many connections as
 * it gets, to take what is kept for root of the host.
 */
import { expect, test } from 'vitest'
import { accomplice, ownAgent, whileServed } from '../harness/attack.ts'
import { makeToken, read } from '../harness/http.ts'

const TAKE = `import collections,resource,socket,sys
resource.setrlimit(resource.RLIMIT_NOFILE, (5000, 5000))
held = [socket.socket(socket.AF_UNIX) for _ in range(1500)]
said = collections.Counter()
for one in held:
  one.connect(sys.argv[1])
  try: one.sendall(b'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
  except OSError: pass
for one in held:
  try: said[one.recv(12).decode()[9:] or 'closed'] += 1
  except OSError: said['closed'] += 1
print(said['403'], flush=True)
sys.stdin.read()`

test('root of a container has a share, and root of the host another', async (context) => {
  const { metadataSocket } = (await ownAgent(context)).instance
  const container = accomplice(TAKE, [metadataSocket], { through: ['unshare', '--fork', '--pid'] })
  await whileServed(metadataSocket, async () => {
    expect(await container.said()).toBe('1024')
    for (let round = 0; round < 10; round += 1) {
      const token = await makeToken(metadataSocket)
      expect(await read(metadataSocket, '/latest/user-data', token)).toHaveProperty('status')
      expect((await read(metadataSocket, '/latest/meta-data/', token)).status).toBe(200)
    }
  })
})
