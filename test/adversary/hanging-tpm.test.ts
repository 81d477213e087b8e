/**
 * The TPM takes commands and answers none. A user asks for a hundred identity tokens, so that all threads of the agent wait
 * for it, and root wants the agent to end.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { accomplice, ownAgent, SERVICE_USER, whileServed } from '../harness/attack.ts'
import { tokenAs } from '../harness/unix-http.ts'

const ASK = `import select,socket,sys
line = 'GET /metabind/v1/identity?audience=a HTTP/1.1\\r\\nHost: x\\r\\nX-aliyun-ecs-metadata-token: ' + sys.argv[2] + '\\r\\n\\r\\n'
held = [socket.socket(socket.AF_UNIX) for _ in range(100)]
for one in held:
  one.connect(sys.argv[1])
  one.sendall(line.encode())
later = 0
while later < 60:
  for one in select.select(held, [], [])[0]:
    later += b' 503 ' in one.recv(65536)
    held.remove(one)
print(later, len(held), flush=True)
sys.stdin.read()`

test('who needs no TPM is served, and the agent ends with its last record', async (context) => {
  const { instance } = await ownAgent(context)
  const { metadataSocket, agent, tpm } = instance
  const { body: token } = await tokenAs({ uid: SERVICE_USER }, metadataSocket)
  tpm.pause()
  onTestFinished(() => tpm.resume())
  await whileServed(metadataSocket, async () => {
    const user = accomplice(ASK, [metadataSocket, token], { uid: SERVICE_USER })
    // 32 wait, and one is with the TPM.
    expect(await user.said()).toMatch(/^6[0-7] (40|3[3-9])$/)
    await sleep(1000)
  })
  expect(await agent.stop()).toBe(0)
  expect(agent.records.filter(({ audit }) => audit === true).at(-1)).toMatchObject({
    event: 'agent.ended',
  })
})
