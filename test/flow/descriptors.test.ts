import { Agent } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { leaveDescriptors } from '../harness/descriptors.ts'
import { call, makeToken, putToken, refusal, TOKEN_HEADER, TTL_HEADER } from '../harness/http.ts'
import { type Instance, startInstance } from '../harness/instance.ts'
import { scratchDirectory } from '../harness/scratch.ts'

/** An agent without a descriptor for looking at its callers: that is its own trouble, and passes. */

const OPEN = '/latest/meta-data/instance-id'
const SECRET = '/latest/meta-data/ram/security-credentials/demo-role'
const LIMITED = '503 LIMIT_CONNECTIONS retry-after 1'

let scratch: Awaited<ReturnType<typeof scratchDirectory>>
let instance: Instance

beforeAll(async () => {
  scratch = await scratchDirectory()
  instance = await startInstance(scratch.path)
})
afterAll(async () => {
  await instance?.stop()
  await scratch?.[Symbol.asyncDispose]()
})

type Asked = Promise<Awaited<ReturnType<typeof call>>>

/** What is answered while the agent may open so many descriptors more. */
async function limited(spare: number, ask: () => Asked): Promise<string> {
  using _few = leaveDescriptors(instance.agent.child.pid ?? 0, spare)
  const answered = await ask()
  return `${refusal(answered)} retry-after ${answered.headers['retry-after']}`
}

test('a new caller is told to come again, and is known then', async () => {
  const ask = () => putToken(instance.metadataSocket, [TTL_HEADER, '60'])
  // One is for the connection. Others may just be given back: then there were more than that.
  await expect.poll(() => limited(1, ask)).toBe(LIMITED)
  expect((await ask()).status).toBe(200)
})

test('so is one that connected before, on its connection', async () => {
  const token = await makeToken(instance.metadataSocket)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const read = (path: string) =>
    call(instance.metadataSocket, { path, headers: [TOKEN_HEADER, token], agent })
  try {
    await expect
      .poll(async () => {
        // On a connection of which nothing was looked at yet.
        agent.destroy()
        expect((await read(OPEN)).status).toBe(200)
        return limited(0, () => read(SECRET))
      })
      .toBe(LIMITED)
    expect((await read(SECRET)).status).toBe(200)
  } finally {
    agent.destroy()
  }
})
