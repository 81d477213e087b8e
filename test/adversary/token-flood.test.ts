/**
 * A user makes tokens as fast as the agent gives them, on many connections, so that the records of it drive out those of
 * others in the journal and fill the disk.
 */
import { statSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ATTACKER, attack, whileServed } from '../harness/attack.ts'
import { auditedAgent, ofUser, recordsIn, sumOf } from '../harness/audited.ts'
import { runMetabind } from '../harness/packaged-command.ts'
import { tokenAs } from '../harness/unix-http.ts'

const FLOOD = `import socket,sys,threading,time
end = time.monotonic() + 5
counts = []
request = b'PUT /latest/api/token HTTP/1.1\\r\\nHost: x\\r\\nX-aliyun-ecs-metadata-token-ttl-seconds: 60\\r\\n\\r\\n'
def flood():
  made = 0
  while time.monotonic() < end:
    try:
      s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1])
      s.sendall(request * 8)
      s.shutdown(socket.SHUT_WR)
      while data := s.recv(65536): made += data.count(b'HTTP/1.1 200')
    except OSError: pass
  counts.append(made)
threads = [threading.Thread(target=flood) for _ in range(20)]
for one in threads: one.start()
for one in threads: one.join()
print(sum(counts))`

test('they are few lines, add up, and root has a line for each of its own', async (context) => {
  const { instance, file } = await auditedAgent(context)
  const { metadataSocket } = instance
  const root = async () => {
    for (let round = 0; round < 20; round += 1) await tokenAs({ uid: 0 }, metadataSocket)
  }
  const before = statSync(file).size
  const [printed] = await whileServed(metadataSocket, () =>
    Promise.all([attack(FLOOD, [metadataSocket]), root()]),
  )
  await instance.agent.stop()
  const made = Number(printed)
  const records = recordsIn(file)
  const issued = ofUser(records, 'token.issued', ATTACKER)
  expect(made).toBeGreaterThan(200)
  expect(sumOf(issued, 'count')).toBeGreaterThanOrEqual(made)
  expect(issued.length).toBeLessThan(made / 2)
  expect(statSync(file).size - before).toBeLessThan(made * 300)
  expect(ofUser(records, 'token.issued', 0)).toHaveLength(20)
  expect(await runMetabind(instance, ['audit', 'verify', file])).toMatchObject({ code: 0 })
})
