/**
 * A program in 65,536 groups, as a directory service can give them, opens two thousand connections, to have the agent read
 * and keep the groups for each.
 */
import { expect, inject, test } from 'vitest'
import { attack, whileServed } from '../harness/attack.ts'

const USER = 61_112
const CONNECT = `import collections,os,resource,socket,sys
resource.setrlimit(resource.RLIMIT_NOFILE, (5000, 5000))
os.setgroups(range(100000, 165536)); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
held = [socket.socket(socket.AF_UNIX) for _ in range(2000)]
said = collections.Counter()
for one in held:
  one.connect(sys.argv[1])
  try: one.sendall(b'GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n')
  except OSError: pass
for one in held:
  try: said[one.recv(12).decode()[9:]] += 1
  except OSError: said['closed'] += 1
print(said['403'], sum(said.values()))`

test('such connections count for several, and others get theirs', async () => {
  const { metadataSocket } = inject('target')
  // Root has to put it into its groups.
  const said = await whileServed(metadataSocket, () =>
    attack(CONNECT, [metadataSocket, String(USER)], {}),
  )
  const [taken = 0, tried] = said.split(' ').map(Number)
  expect(tried).toBe(2000)
  // Of its 1024, each one that was identified in full counts for 257.
  expect(taken).toBeGreaterThan(0)
  expect(taken).toBeLessThan(1024 - 257)
})
