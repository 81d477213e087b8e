/**
 * A program of the administrators' group opens hundreds of streams of the status page and reads none, while a user makes
 * as many rows, tokens and refusals as it can, so that there is always something new to send.
 */
import { expect, test } from 'vitest'
import { ATTACKER, accomplice, attack, ownAgent, whileServed } from '../harness/attack.ts'

const WATCH = `import socket,sys
held, statuses = [], []
for _ in range(100):
  s = socket.socket(socket.AF_UNIX); s.settimeout(10)
  try:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    s.connect(sys.argv[1]); s.sendall(b'GET /ui/events HTTP/1.1\\r\\nHost: metabind\\r\\n\\r\\n')
    statuses.append(s.recv(12).decode()[9:])
    held.append(s)
  except OSError: statuses.append('closed')
print(*[f'{one}:{statuses.count(one)}' for one in sorted(set(statuses))], flush=True)
sys.stdin.read()`
const CHANGE = `import http.client,socket,sys,time
class Unix(http.client.HTTPConnection):
  def connect(self):
    self.sock = socket.socket(socket.AF_UNIX)
    self.sock.connect(sys.argv[1])
end = time.monotonic() + 8
at = 0
while time.monotonic() < end or at < 10:
  at += 1
  there = Unix('metadata')
  there.request('PUT', '/latest/api/token', headers={'x-aliyun-ecs-metadata-token-ttl-seconds': '60'})
  token = there.getresponse().read().decode()
  there.request('GET', '/latest/user-data/%s%d' % ('x' * 200, at), headers={'x-aliyun-ecs-metadata-token': token})
  there.getresponse().read()
print(at)`

test('eight of them are served, and the agent keeps its measure', async (context) => {
  const { instance, cgroup } = await ownAgent(context)
  const before = await cgroup.bytes()
  await whileServed(instance.metadataSocket, async () => {
    // The socket's group is the agent's.
    const watchers = accomplice(WATCH, [instance.adminSocket], { uid: 61_106, groups: [0] })
    const said = await watchers.said()
    expect(said).toMatch(/\b200:8\b/)
    expect(said).not.toMatch(/\b200:9/)
    expect(
      Number(await attack(CHANGE, [instance.metadataSocket], { uid: ATTACKER })),
    ).toBeGreaterThan(5)
    expect((await cgroup.bytes()) - before).toBeLessThan(32 * 2 ** 20)
  })
  expect(await cgroup.kills()).toBe(0)
})
