/**
 * A user has thousands of requests refused, on many connections at once, to fill the log and the disk, and to drive out
 * what root does at the same time.
 */
import { expect, test } from 'vitest'
import { REFUSALS } from '../../src/audit/suppression.ts'
import { ATTACKER, attack, CREDENTIALS_PATH, whileServed } from '../harness/attack.ts'
import { auditedAgent, ofUser, recordsIn, sumOf } from '../harness/audited.ts'
import { runMetabind } from '../harness/packaged-command.ts'
import { readAs } from '../harness/unix-http.ts'

const FLOOD = `import socket,sys,threading,time
end = time.monotonic() + 5
counts = []
def flood():
  answered = 0
  while time.monotonic() < end or answered < 20:
    try:
      s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1])
      s.sendall(b'GET /latest/ HTTP/1.1\\r\\nHost: x\\r\\nX-Forwarded-For: 1.2.3.4\\r\\n\\r\\n' * 8)
      s.shutdown(socket.SHUT_WR)
      while data := s.recv(65536): answered += data.count(b'REQUEST_FORWARDED')
    except OSError: pass
  counts.append(answered)
threads = [threading.Thread(target=flood) for _ in range(40)]
for one in threads: one.start()
for one in threads: one.join()
print(sum(counts))`

test('they are few lines, add up, and cost root no record', async (context) => {
  const { instance, file } = await auditedAgent(context)
  const { metadataSocket } = instance
  const root = async () => {
    for (let round = 0; round < 20; round += 1) {
      expect((await readAs({ uid: 0 }, metadataSocket, CREDENTIALS_PATH)).status).toBe(200)
    }
  }
  const beganMs = performance.now()
  const [answered] = await whileServed(metadataSocket, () =>
    Promise.all([attack(FLOOD, [metadataSocket]), root()]),
  )
  const seconds = (performance.now() - beganMs) / 1000
  await instance.agent.stop()
  const records = recordsIn(file)
  const refused = ofUser(records, 'request.refused', ATTACKER)
  const suppressed = ofUser(records, 'audit.suppressed', ATTACKER)
  expect(Number(answered)).toBeGreaterThan(500)
  // Whoever closes too early is refused as well, and does not see it.
  expect(sumOf(refused, 'count') + sumOf(suppressed, 'suppressed')).toBeGreaterThanOrEqual(
    Number(answered),
  )
  expect(refused.length).toBeLessThanOrEqual(REFUSALS.burst + REFUSALS.perSecond * seconds)
  for (const event of ['token.issued', 'secret.read']) {
    const ofRoot = ofUser(records, event, 0)
    expect([event, sumOf(ofRoot, 'count')]).toEqual([event, 20])
  }
  expect(await runMetabind(instance, ['audit', 'verify', file])).toMatchObject({ code: 0 })
})
