/**
 * Under lockdown, a user asks for tokens and credentials on thousands of connections and closes each at once, in order
 * or by a reset, so that the kernel names root as the owner of what is left of them. On the last one it waits.
 */
import { expect, test } from 'vitest'
import { attack } from '../harness/attack.ts'
import { uidOf } from '../harness/audited.ts'
import { CLIENT, INTRUDER, onHost, ownGuarded, whileHostServed } from '../harness/own-guarded.ts'

const CLOSE = `${CLIENT}
import struct
put = b'PUT /latest/api/token HTTP/1.1\\r\\nHost: x\\r\\nX-aliyun-ecs-metadata-token-ttl-seconds: 600\\r\\n\\r\\n'
got, sent = b'', 0
for at in range(1500):
  s = socket.socket(); s.settimeout(5)
  if at % 3 == 0: s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
  try:
    s.connect((SERVICE, 80)); s.sendall(put); sent += 1
    if at % 3 == 1: s.shutdown(socket.SHUT_WR)
  except OSError: pass
  s.close()
print(sent, ask('GET', ID)[0])`

test('nobody is taken for root', async () => {
  const guarded = await ownGuarded()
  await guarded.lockdown('on')
  const { agent } = guarded.instance
  const said = await whileHostServed(guarded, () => attack(CLOSE, [], onHost(guarded, INTRUDER)))
  const [sent, status] = said.split(' ').map(Number)
  expect(sent).toBeGreaterThan(100)
  // Whoever waits is there when the agent looks.
  expect(status).toBe(403)
  await agent.stop()
  // Root's own record is that of lockdown.
  const records = agent.records.filter(({ event }) =>
    /^(token|request|policy|secret|limit|audit\.suppressed)/.test(String(event)),
  )
  const uids = records.map(uidOf)
  expect(uids).toContain(INTRUDER)
  expect(uids).not.toContain(0)
  // The closed ones arrived as well: as their user's, or as nobody's if the agent came too late to ask whose.
  const arrived = records
    .filter((record) => [INTRUDER, undefined].includes(uidOf(record)))
    .reduce((sum, { count, suppressed = 1 }) => sum + Number(count ?? suppressed), 0)
  expect(arrived).toBeGreaterThan(100)
})
