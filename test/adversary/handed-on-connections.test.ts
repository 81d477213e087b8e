/**
 * A user makes more connections than it may have, each by a process that hands it on and ends at once, so that nobody can
 * tell whose they are, and then asks on them.
 */
import { expect, onTestFinished, test } from 'vitest'
import { ATTACKER, ownAgent, whileServed } from '../harness/attack.ts'
import { handOn } from '../harness/handed-on.ts'
import { connectionsOpen, makeToken, read } from '../harness/http.ts'

const CONNECTIONS_PER_UID = 1024

test('connections of processes that have ended are their user’s', async (context) => {
  const { instance } = await ownAgent(context)
  const { metadataSocket, adminSocket, agent } = instance
  const count = CONNECTIONS_PER_UID + 500
  const held = await handOn({ uid: ATTACKER }, metadataSocket, count, agent.child)
  onTestFinished(() => held.end())
  await expect.poll(() => connectionsOpen(adminSocket)).toBe(CONNECTIONS_PER_UID)
  const statuses = await whileServed(metadataSocket, async () => [
    await held.ask(0),
    await held.ask(count - 1),
  ])
  expect(statuses).toEqual([403, expect.toSatisfy((status) => [0, 503].includes(status))])
  const token = await makeToken(metadataSocket)
  expect(await read(metadataSocket, '/latest/meta-data/', token)).toMatchObject({ status: 200 })
})
