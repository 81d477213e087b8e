/**
 * A process in all the groups that a kernel takes, 65,536 of them, makes tokens and is refused again and again, so that
 * each record has half a megabyte of groups, which the journal cuts and the verifier breaks at.
 */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ATTACKER, attack, whileServed } from '../harness/attack.ts'
import { auditedAgent, ofUser, recordsIn } from '../harness/audited.ts'
import { runMetabind } from '../harness/packaged-command.ts'

const ASK = `import os,socket,sys
os.setgroups(range(100000, 165536)); os.setgid(${ATTACKER}); os.setuid(${ATTACKER})
put = b'PUT /latest/api/token HTTP/1.1\\r\\nHost: x\\r\\nX-aliyun-ecs-metadata-token-ttl-seconds: 60\\r\\n'
got = b''
for more in [b'', b'X-Forwarded-For: x\\r\\n'] * 5:
  s = socket.socket(socket.AF_UNIX); s.settimeout(30); s.connect(sys.argv[1])
  s.sendall(put + more + b'Connection: close\\r\\n\\r\\n')
  while data := s.recv(65536): got += data
print(got.count(b'HTTP/1.1 200'), got.count(b'HTTP/1.1 403'), got.count(b'HTTP/1.1 '))`

test('its records are as short as those of others, and say how many there were', async (context) => {
  const { instance, file } = await auditedAgent(context)
  const printed = await whileServed(instance.metadataSocket, () =>
    attack(ASK, [instance.metadataSocket], {}),
  )
  expect(printed).toMatch(/^[0-5] [1-5] \d+\n$/)
  await instance.agent.stop()
  const records = recordsIn(file)
  const refused = ofUser(records, 'request.refused', ATTACKER)
  expect(refused.length).toBeGreaterThan(0)
  for (const { caller } of refused) expect(caller).toMatchObject({ groupCount: 65_536 })
  const longest = Math.max(
    ...readFileSync(file, 'utf8')
      .split('\n')
      .map((line) => line.length),
  )
  expect(longest).toBeLessThan(2000)
  expect(await runMetabind(instance, ['audit', 'verify', file])).toMatchObject({ code: 0 })
})
