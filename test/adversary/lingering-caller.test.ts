/**
 * A user holds fifty connections with half a request, fifty with answers that it does not read, and fifty on which it says
 * nothing, when the agent is to end, so that no other one can start.
 */
import { expect, test } from 'vitest'
import { accomplice, ownAgent, whileServed } from '../harness/attack.ts'

const HOLD = `import socket,sys
held = []
for at in range(150):
  one = socket.socket(socket.AF_UNIX)
  one.connect(sys.argv[1])
  if at % 3 == 0: one.sendall(b'PUT /latest/api/token HTTP/1.1\\r\\nHost: x\\r\\nX-ali')
  if at % 3 == 1: one.sendall(b'GET /latest/meta-data/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' * 15)
  held.append(one)
print('held', flush=True)
sys.stdin.read()`

test('nobody is waited for without end, and the last record is written', async (context) => {
  const { instance } = await ownAgent(context)
  const { metadataSocket, agent } = instance
  const user = accomplice(HOLD, [metadataSocket])
  expect(await user.said()).toBe('held')
  await whileServed(metadataSocket, async () => undefined)
  // One that does not end within a minute is killed, and has no exit code.
  expect(await agent.stop()).toBe(0)
  const last = agent.records.filter(({ audit }) => audit === true).at(-1)
  expect(last).toMatchObject({ event: 'agent.ended' })
  await instance.restartAgent()
  await whileServed(metadataSocket, async () => undefined)
})
